"""What to do in each kind of disaster, with this cluster's paths, versions and ports. Pure."""

from pgkeep.runbook import accidents, guarding, rebuilding
from pgkeep.runbook.commands import DIRECTORY, SECONDS, UNMEASURED, Commands
from pgkeep.runbook.facts import Facts
from pgkeep.runbook.page import Section, Step, Words


def disasters(facts: Facts) -> tuple[Section, ...]:
    """Return one section for each, the most likely first."""
    commands = Commands(facts)
    ways = (
        accidents.table,
        accidents.database,
        accidents.migration,
        rebuilding.directory,
        rebuilding.pages,
        rebuilding.server,
        rebuilding.site,
        guarding.ransom,
        guarding.repository,
        guarding.keys,
        guarding.config,
        _promotion,
        _upgrade,
    )
    return tuple(way(commands) for way in ways)


def _promotion(c: Commands) -> Section:
    port = c.facts.server.port or "PORT"
    stream = f"host=NEW_PRIMARY port={port} user=REPLICATION_ROLE"
    standby = ("restore", "--target-dir", c.directory, "--standby", "--delta",
               "--primary-conninfo", stream)  # fmt: skip
    return Section("promotion", "A standby must take over", (
        Words("Be certain that the old primary is off and stays off: two primaries write two "
              "histories. On the standby's host DATA_DIRECTORY is the standby's own, and its "
              "config of pgkeep says how to connect to it."),
        Step("On the standby: promote it, if no tool has done so.",
             (c.program("pg_ctl", "-D", DIRECTORY, "-w", "promote"),), SECONDS),
        Step("On the new primary: it archives from now on, the old one is refused.",
             (c.pgkeep("init", "--apply"), c.pgkeep("wal", "take-over")), SECONDS),
        Step("If init says so, restart it. Until the next step has ended, nothing that it wrote "
             "since its promotion can be restored then.", (c.restart(DIRECTORY),), SECONDS),
        Step("Is it archiving? Then back it up at once.",
             (c.pgkeep("check"), c.pgkeep("backup")), UNMEASURED),
        Step("Later, on the old primary's host, with its server stopped: make it a standby of the "
             "new one; only what differs is written. A password of REPLICATION_ROLE belongs into "
             "~/.pgpass.", (c.pgkeep(*standby),), c.restored_in()),
        Step("Only if that is refused because it has changes that the new primary has not: keep "
             "them in a copy, and give them up here.",
             (f"cp -a {c.quoted} {c.quoted}.lost", c.pgkeep(*standby, "--discard-wal")),
             c.restored_in()),
        Step("Start it.", (c.start,), c.restored_in()),
    ))  # fmt: skip


def _upgrade(c: Commands) -> Section:
    facts = c.facts
    major = facts.server.major
    newest = f"; when this was written it was {facts.backup.id}" if facts.backup else ""
    new = ("NEW_PROGRAMS/pg_ctl", "-D", "NEW_DATA_DIRECTORY")
    control = f"{c.directory}/global/pg_control"
    back = ("restore", "BACKUP", "--target-dir", c.directory, "--keep-archiving")
    return Section("upgrade", "An upgrade of PostgreSQL went wrong", (
        Words(f"When this was written the server was PostgreSQL {facts.server.version}, in "
              f"{c.directory}; here that is the old one. Its backups and WAL stay in the "
              "repository, and can be restored with that version's programs only."),
        Words("Which case is it? (A) pg_upgrade copied or cloned, or failed before it linked: the "
              "old directory is whole. (B) It linked (--link), and the new server was never "
              "started: it is whole but for the name of one file. (C) It linked and the new server "
              "was started, or it swapped (--swap): it is spoilt, and must be restored."),
        Step("In every case: stop the new server, if it runs.",
             (c.line(*new, "-m", "fast", "stop"),), SECONDS),
        Step("Only in case B: give the file its name again.",
             (c.line("mv", f"{control}.old", control),), SECONDS),
        Step("In cases A and B: start the old server. Nothing is lost but what was written in the "
             "new one. Then go on with the check.", (c.start_untouched,), SECONDS),
        Step("In case C: put the old directory aside.", c.put_aside, SECONDS),
        Step(f"In case C: restore the last state of version {major}. BACKUP is the newest of "
             f"PostgreSQL {major} in the list{newest}.",
             (c.pgkeep("list"), c.pgkeep(*back, "--dry-run"), c.pgkeep(*back)), c.restored_in()),
        *rebuilding.up_again(c),
        Step("Without a backup of that version: the newest dump goes into any later version.",
             (c.pgkeep("dump", "restore", "latest", "--all", "--create-roles"),), UNMEASURED),
        Step("When an upgrade has succeeded: tell pgkeep, let the new server archive, and back it "
             "up at once.",
             (c.pgkeep("init", "--apply", "--new-generation"),
              c.line(*new, "-l", "NEW_DATA_DIRECTORY.log", "-w", "restart"),
              c.pgkeep("check"), c.pgkeep("backup")), UNMEASURED),
    ))  # fmt: skip
