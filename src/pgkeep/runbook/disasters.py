"""What to do in each kind of disaster, with this cluster's paths, versions and ports. Pure."""

from pgkeep.runbook.commands import ASK_FOR_KEY, UNMEASURED, Commands
from pgkeep.runbook.facts import Facts, Place
from pgkeep.runbook.page import Block, Section, Step, Words
from pgkeep.units import format_size

_TABLE = "DATABASE.SCHEMA.TABLE"


def disasters(facts: Facts) -> tuple[Section, ...]:
    """Return one section for each, the most likely first."""
    commands = Commands(facts)
    return (
        _table(commands),
        _migration(commands),
        _directory(commands),
        _server(commands),
        _site(commands),
        _ransom(commands),
        _repository(commands),
        _promotion(commands),
        _upgrade(commands),
    )


def _table(c: Commands) -> Section:
    return Section("table-dropped", "One table was dropped, emptied or spoilt", (
        Words("The server goes on running; nothing else is touched. Until it is done, let nobody "
              "write to that table."),
        Step("Find the accident, and its number. The time is how far back to look.",
             (c.pgkeep("undo", "find", "--since", "2h"),), UNMEASURED),
        Step("See what would come back. The first number shown is 1.",
             (c.pgkeep("undo", "table", _TABLE, "--event", "1", "--dry-run"),), c.drilled_in()),
        Step("A table that is gone: make it anew, with all it had. It asks before it changes "
             "anything.",
             (c.pgkeep("undo", "table", _TABLE, "--event", "1", "--into-place"),), c.drilled_in()),
        Step("A table that is there, and rows are missing: insert those.",
             (c.pgkeep("undo", "table", _TABLE, "--event", "1", "--merge", "missing"),),
             c.drilled_in()),
        Step("In doubt: beside it, under another name, to compare.",
             (c.pgkeep("undo", "table", _TABLE, "--event", "1", "--as", "TABLE_as_it_was"),),
             c.drilled_in()),
        Step("Without WAL of that time, from the newest dump, into a new database.",
             (c.pgkeep("dump", "restore", "latest", "--database", "DATABASE", "--name",
                       "database_as_it_was"),), UNMEASURED),
    ))  # fmt: skip


def _migration(c: Commands) -> Section:
    target = "name:POINT"
    return Section("bad-migration", "A migration went wrong", (
        Words("POINT is the restore point that was set before it (pgkeep point, pgkeep run). "
              "Without one, give the time before it began."),
        Step("Look at the moment before it, in a copy that goes away by itself.",
             (c.pgkeep("undo", "sandbox", "--at", target, "--for", "2h"),), c.drilled_in()),
        Step("If a few tables are all that is wrong: bring them back one by one.",
             (c.pgkeep("undo", "table", _TABLE, "--at", target, "--dry-run"),), c.drilled_in()),
        Step("If everything must go back: stop the server and put its directory aside. It keeps "
             "what was written since.", (c.stop, *c.put_aside), "seconds"),
        Step("Restore to that moment, or to a time (this one is the newest when this was written).",
             (c.pgkeep("restore", "--target-dir", c.directory, "--keep-archiving", "--to", target),
              c.pgkeep("restore", "--target-dir", c.directory, "--keep-archiving", "--to",
                       c.moment)), c.restored_in()),
        *_up_again(c),
    ))  # fmt: skip


def _directory(c: Commands) -> Section:
    return Section("data-directory-lost", "The data directory is lost or damaged, the host lives", (
        Words("If anything of pg_wal is left, its newest segments may be on no other disk: delete "
              "nothing, and store them from where they lie. Out of another directory they would be "
              "refused, as those of a copy."),
        Step("Stop what still runs. What does the directory hold?",
             (c.stop, c.pgkeep("inspect", c.directory)), "seconds"),
        Step("Which WAL was not archived? Names that end in .ready; the repository's side as well.",
             (c.pending, c.pgkeep("wal", "status")), "seconds"),
        Step("Store each of those segments, the oldest first, if there are any.",
             (c.pgkeep("wal", "push", f"{c.directory}/pg_wal/SEGMENT"),), "seconds for each"),
        Step("Put the remains aside. Of a tablespace on a disk of its own, what is in it.",
             c.put_aside, "seconds"),
        Step("Hear what will be done; then do it.", _whole(c), c.restored_in()),
        *_up_again(c),
        Step("Single bad pages, in a directory that is else whole, with the server stopped: no "
             "restore is needed.",
             (c.pgkeep("repair", "--target-dir", c.directory, "--dry-run"),), UNMEASURED),
    ))  # fmt: skip


def _whole(c: Commands, repository: str = "") -> tuple[str, ...]:
    words = ("restore", "--target-dir", c.directory, "--keep-archiving")
    return (
        c.pgkeep(*words, "--dry-run", repository=repository),
        c.pgkeep(*words, repository=repository),
    )


def _up_again(c: Commands) -> tuple[Block, ...]:
    port = c.facts.server.port
    listens = f" It listens on port {port}." if port else ""
    return (
        Step(f"Start it, and let it recover; the log says how far it is.{listens}",
             (c.start, c.pgkeep("inspect", c.directory)), c.restored_in()),
        Step("Is it archiving? Then back it up at once.",
             (c.pgkeep("check"), c.pgkeep("backup")), UNMEASURED),
    )  # fmt: skip


def _server(c: Commands) -> Section:
    server = c.facts.server
    spaces = f", and a directory for each tablespace ({', '.join(server.tablespaces)})" \
        if server.tablespaces else ""  # fmt: skip
    return Section("server-dead", "The server is dead: everything on a new host", (
        Words(f"The new host needs PostgreSQL {server.major}, its packages for extensions, "
              f"{_room(c)}{spaces}; pgkeep, its config and what opens the repository: the sections "
              "below. The old host must not come back into the network by itself. PostgreSQL's "
              "programs may have another path there."),
        Step("Can the repository be read, and up to when?", (c.pgkeep("list"),), "seconds"),
        Step("Hear what will be done; then do it.", _whole(c), c.restored_in()),
        *_up_again(c),
        Step("Point the applications to the new host; should the old one come back, its WAL is "
             "refused. Make sure that the timers or the service of pgkeep run here now."),
    ))  # fmt: skip


def _room(c: Commands) -> str:
    size = c.facts.server.size
    return f"room for {format_size(size)} and the WAL to replay" if size else "room for all of it"


def _site(c: Commands) -> Section:
    away = _elsewhere(c.facts)
    steps: list[Block] = []
    if not away:
        steps.append(
            Words(
                "NO repository is known to be at another site: if this site burns, "
                "everything is lost. pgkeep check --321 says what to do about it."
            )
        )
    for place in away or c.facts.places:
        steps += _from_nothing(c, place)
    return Section("site-lost", "The whole site is lost", (
        Words("Nothing is left but this page, a repository at another site and the recovery kit. "
              "The new host needs what the section before this one says."),
        *steps,
        Step("Start it. It does not archive yet.",
             (c.start, c.pgkeep("inspect", c.directory)), c.restored_in()),
        Step("Put the config of this page into its place, with a repository that is there first "
             "in it: the one that was restored from, or a new place. Then let the server archive "
             "and back it up.",
             (c.pgkeep("init", "--apply"), c.pgkeep("wal", "take-over"), c.pgkeep("check"),
              c.pgkeep("backup")), UNMEASURED),
    ))  # fmt: skip


def _from_nothing(c: Commands, place: Place) -> list[Block]:
    """Restore on a host that has neither config nor passphrase."""
    title = place.name or place.address
    steps: list[Block] = []
    if place.encrypted is not False:
        steps.append(
            Step(
                f"What opens repository {title}, from the recovery kit: type it, it is not shown.",
                (ASK_FOR_KEY,),
                "seconds",
            )
        )
    steps += [
        Step(f"Repository {title}, without a config. It needs {place.credentials}.",
             (c.bare(place.address, "list"),), "seconds"),
        Step("Hear what will be done; then do it.",
             (c.bare(place.address, "restore", "--target-dir", c.directory, "--dry-run"),
              c.bare(place.address, "restore", "--target-dir", c.directory)), c.restored_in()),
    ]  # fmt: skip
    return steps


def _elsewhere(facts: Facts) -> list[Place]:
    remote = ("s3://", "gs://", "az://", "sftp://")
    return [place for place in facts.places if place.site or place.address.startswith(remote)]


def _ransom(c: Commands) -> Section:
    locked = [place for place in c.facts.places if place.locks]
    steps: list[Block] = []
    for place in locked:
        before = f"{place.address}{'&' if '?' in place.address else '?'}versions=before:MOMENT"
        steps += [
            Step(
                f"Repository {place.name or place.address} locks its objects: see what was hidden "
                "or overwritten, and since when.",
                (c.bare(place.address, "hidden"),),
                UNMEASURED,
            ),
            Step(
                "Read it as it was before that moment (as 2026-11-20T03:14:07Z), and restore.",
                (c.bare(before, "list"), c.bare(before, "restore", "--target-dir", c.directory)),
                c.restored_in(),
            ),
            Step(
                "In the end, with a new key, make the locked versions the current ones again.",
                (c.bare(place.address, "hidden", "--bring-back"),),
                UNMEASURED,
            ),
        ]
    if not locked:
        steps.append(
            Words(
                "NO repository of this cluster locks its objects: whoever had this host's "
                "credentials could delete all of them. What is left is what they could not reach."
            )
        )
    for place in c.facts.places:
        steps.append(
            Step(
                f"Is repository {place.name or place.address} whole? Every byte is read.",
                (c.pgkeep("verify", "--level", "bytes", repository=place.name),),
                UNMEASURED,
            )
        )
    return Section("ransomware", "Somebody encrypted or deleted things on purpose", (
        Words("Cut the network first; take every key out of use that was on the attacked hosts. "
              "Work from a clean host, with credentials that can only read. When did it begin? "
              "Restore to a moment before that, into a clean system."),
        *steps,
        Step("Restore to a moment before it began: not to this one, the newest when this was "
                 "written.",
             (c.pgkeep("restore", "--target-dir", c.directory, "--to", c.moment, "--dry-run"),
              c.pgkeep("restore", "--target-dir", c.directory, "--to", c.moment)),
             c.restored_in()),
    ))  # fmt: skip


def _repository(c: Commands) -> Section:
    places = c.facts.places
    steps: list[Block] = [
        Step("Look at it: what is damaged, and which backups need it?",
             (c.pgkeep("verify", "--level", "bytes"), c.pgkeep("list")), UNMEASURED),
    ]  # fmt: skip
    if len(places) > 1:
        first, *others = places
        steps += [
            Step("Mend it from the other copies.", (c.pgkeep("verify", "--repair"),), UNMEASURED),
            *(Step(f"If {first.name} is lost altogether: make it anew from {other.name}.",
                   (c.pgkeep("copy", "--from", other.name, "--to", first.name),), UNMEASURED)
              for other in others[:1]),
        ]  # fmt: skip
    else:
        steps.append(Words("There is no other copy to mend it from."))
    steps += [
        Step("Is the server archiving into it? What waits is kept by the server until then.",
             (c.pgkeep("check"), c.pgkeep("wal", "status")), "seconds"),
        Step("In any case: a new backup. It refers to nothing that is damaged.",
             (c.pgkeep("backup", "--type", "full"),), UNMEASURED),
    ]  # fmt: skip
    return Section("repository-damaged", "The repository is damaged or gone, the server lives", (
        Words("The database is not in danger, but nothing protects it. Delete nothing in the "
              "repository; what pgkeep list shows can be restored as before."),
        *steps,
    ))  # fmt: skip


def _promotion(c: Commands) -> Section:
    return Section("promotion", "A standby must take over", (
        Words("Be certain that the old primary is off and stays off: two primaries write two "
              "histories. On the standby's host DATA_DIRECTORY is the standby's own."),
        Step("On the standby: promote it, if no tool has done so.",
             (c.program("pg_ctl", "-D", "DATA_DIRECTORY", "promote"),), "seconds"),
        Step("On the new primary: it archives from now on, the old one is refused.",
             (c.pgkeep("wal", "take-over"), c.pgkeep("init", "--apply"), c.pgkeep("check"),
              c.pgkeep("backup")), UNMEASURED),
        Step("Later, on the old primary's host, with its server stopped: make it a standby of the "
             "new one; only what differs is written.",
             (c.pgkeep("restore", "--target-dir", c.directory, "--standby", "--delta",
                       "--primary-conninfo", "host=NEW_PRIMARY user=replication"),), UNMEASURED),
    ))  # fmt: skip


def _upgrade(c: Commands) -> Section:
    facts = c.facts
    newest = facts.backup.id if facts.backup else "BACKUP"
    old = facts.server.programs or "PROGRAMS_OF_THE_OLD_VERSION"
    major = facts.server.major
    return Section("upgrade", "An upgrade of PostgreSQL went wrong", (
        Words(f"When this was written the server was PostgreSQL {facts.server.version}. Backups "
              "and WAL of the version before the upgrade stay in the repository, and can be "
              "restored with that version's programs only."),
        Step("Did pg_upgrade link files (--link) and was the new server started? Then the old "
             "directory is spoilt, and must be restored. Else stop the new server and start the "
             "old one: nothing is lost but what was written since.", (c.start,), "seconds"),
        Step(f"Restore the last state of version {major}: the newest moment of it, from its newest "
             "backup (pgkeep list shows all, with their versions).",
             (c.pgkeep("list"),
              c.pgkeep("restore", newest, "--target-dir", c.beside, "--pg-bin", old)),
             c.restored_in()),
        Step("Without a backup of that version: the newest dump goes into any later version.",
             (c.pgkeep("dump", "restore", "latest", "--all", "--create-roles"),), UNMEASURED),
        Step("When an upgrade has succeeded: tell pgkeep, and back up at once.",
             (c.pgkeep("init", "--apply", "--new-generation"), c.pgkeep("backup")), UNMEASURED),
    ))  # fmt: skip
