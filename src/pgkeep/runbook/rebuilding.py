"""What to do when a directory, a server or a site is lost. Pure."""

from pgkeep.runbook.commands import ASK_FOR_KEY, SECONDS, UNMEASURED, Commands
from pgkeep.runbook.facts import Place
from pgkeep.runbook.page import Block, Section, Step, Words
from pgkeep.units import format_size

HEAR = "Hear what will be done; then do it."


def directory(c: Commands) -> Section:
    return Section("data-directory-lost", "The data directory is lost or damaged, the host lives", (
        Words("If anything of pg_wal is left, its newest segments may be on no other disk: delete "
              "nothing, and store them from where they lie. Out of another directory they would be "
              "refused, as those of a copy."),
        Step("Stop what still runs, and look at what is left. An error only says that nothing "
             "runs, or that nothing is left.",
             (c.stop, c.pgkeep("inspect", c.directory)), SECONDS),
        Step("Which WAL was not archived? Names that end in .ready; the repository's side as well.",
             (c.pending, c.pgkeep("wal", "status")), SECONDS),
        Step("Store each of those segments, the oldest first, if there are any.",
             (c.pgkeep("wal", "push", f"{c.directory}/pg_wal/SEGMENT"),), "a guess: seconds each"),
        Step("Put the remains aside. Of a tablespace on a disk of its own, what is in it.",
             c.put_aside, SECONDS),
        Step(HEAR, whole(c), c.restored_in()),
        *up_again(c),
    ))  # fmt: skip


def pages(c: Commands) -> Section:
    delta = ("restore", "--target-dir", c.directory, "--keep-archiving", "--delta")
    return Section("pages-corrupt", "Pages are corrupt: errors like \"invalid page in block\"", (
        Words("A page that went bad is a sign: look at the disk and the memory of that machine. "
              "The server must be stopped cleanly for this."),
        Step("Stop it. Which pages are bad, and which can be brought back for certain?",
             (c.stop, c.pgkeep("repair", "--target-dir", c.directory, "--dry-run")), UNMEASURED),
        Step("Bring them back. What they held is kept beside the directory.",
             (c.pgkeep("repair", "--target-dir", c.directory),), UNMEASURED),
        Step("If some cannot: the whole directory to the end of WAL, where only what differs is "
             "written. Bad pages of indexes alone need no restore, but REINDEX.",
             (c.pgkeep(*delta, "--dry-run"), c.pgkeep(*delta)), c.restored_in()),
        *up_again(c),
    ))  # fmt: skip


def server(c: Commands) -> Section:
    known = c.facts.server
    spaces = f", and a directory for each tablespace ({', '.join(known.tablespaces)})" \
        if known.tablespaces else ""  # fmt: skip
    return Section("server-dead", "The server is dead: everything on a new host", (
        Words(f"The new host needs PostgreSQL {known.major}, its packages for extensions, "
              f"{_room(c)}{spaces}; pgkeep, its config and what opens the repository: the sections "
              "at the end of this page. The old host must not come back into the network by "
              "itself. PostgreSQL's programs may have another path there."),
        Step("Can the repository be read, and up to when?", (c.pgkeep("list"),), SECONDS),
        Step(HEAR, whole(c), c.restored_in()),
        *up_again(c),
        Step("Point the applications to the new host; should the old one come back, its WAL is "
             "refused. Make sure that the timers or the service of pgkeep run here now."),
    ))  # fmt: skip


def site(c: Commands) -> Section:
    away = _elsewhere(c)
    steps: list[Block] = []
    if not away:
        steps.append(
            Words(
                "NO repository is known to be at another site: if this site burns, "
                "everything is lost. pgkeep check --321 says what to do about it."
            )
        )
    places = away or c.facts.places
    if len(places) > 1:
        steps.append(Words("One of these repositories is enough: take the first that can be read."))
    for place in places:
        steps += from_nothing(c, place)
    return Section("site-lost", "The whole site is lost", (
        Words("Nothing is left but this page, a repository at another site and the recovery kit. "
              "The new host needs what the section before this one says, but no config."),
        *steps,
        Step("Start it from the same shell: its restore_command needs the passphrase, too. It does "
             "not archive yet.", (c.start,), c.restored_in()),
        *archive_again(c),
    ))  # fmt: skip


def from_nothing(c: Commands, place: Place) -> list[Block]:
    """Restore on a host that has neither config nor passphrase."""
    title = place.name or place.address
    words = ("restore", "--target-dir", c.directory)
    return [
        *key(place, f"repository {title}"),
        Step(f"Repository {title}, without a config. It needs {place.credentials}.",
             (c.bare(place.address, "list"),), SECONDS),
        Step(HEAR, (c.bare(place.address, *words, "--dry-run"), c.bare(place.address, *words)),
             c.restored_in()),
    ]  # fmt: skip


def key(place: Place, title: str) -> list[Block]:
    """Ask for what opens a repository, where there is no config that does."""
    if place.encrypted is False:
        return []
    text = f"What opens {title}, from the recovery kit: a passphrase or its recovery key. Type " \
        "it, it is not shown. All that follows in the same shell."  # fmt: skip
    return [Step(text, (ASK_FOR_KEY,), SECONDS)]


def whole(c: Commands) -> tuple[str, ...]:
    words = ("restore", "--target-dir", c.directory, "--keep-archiving")
    return (c.pgkeep(*words, "--dry-run"), c.pgkeep(*words))


def up_again(c: Commands) -> tuple[Block, ...]:
    port = c.facts.server.port
    listens = f" It listens on port {port}." if port else ""
    return (
        Step(f"Start it, and let it recover; the second command tells in another shell how far it "
             f"is.{listens}",
             (c.start, c.pgkeep("inspect", "--follow", c.directory)), c.restored_in()),
        Step("Is it archiving? Then back it up at once.",
             (c.pgkeep("check"), c.pgkeep("backup")), UNMEASURED),
    )  # fmt: skip


def archive_again(c: Commands) -> tuple[Block, ...]:
    """Protect a server that was restored where there was no config."""
    return (
        Step("Put the config of this page into its place, with a repository that is there first "
             "in it: the one that was restored from, or a new place; and where it says, what opens "
             "it. Then let the server archive, which takes a restart, and back it up.",
             (c.pgkeep("init", "--apply"), c.pgkeep("wal", "take-over"), c.restart(),
              c.pgkeep("check"), c.pgkeep("backup")), UNMEASURED),
    )  # fmt: skip


def _room(c: Commands) -> str:
    size = c.facts.server.size
    return f"room for {format_size(size)} and the WAL to replay" if size else "room for all of it"


def _elsewhere(c: Commands) -> list[Place]:
    remote = ("s3://", "gs://", "az://", "sftp://")
    places = c.facts.places
    return [place for place in places if place.site or place.address.startswith(remote)]
