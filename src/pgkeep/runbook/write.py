"""Facts in, the whole page out. Pure."""

from datetime import datetime, timedelta
from typing import Final

from pgkeep.runbook.commands import Commands, drill_words
from pgkeep.runbook.disasters import disasters
from pgkeep.runbook.facts import Facts, Place, Thing
from pgkeep.runbook.page import Blanks, Block, Grid, Listing, Page, Section, Step, Words
from pgkeep.units import format_duration, format_size

_WHO: Final = (
    "Who decides (restore, failover, time of loss)",
    "Who knows the database",
    "Who knows the hosts and the network",
    "Who knows the storage, or the provider's support and contract number",
    "Who has the recovery kit, and who else",
    "Where the printed copies of this page are",
    "Where the packages and passwords are that it needs",
)

GOOD_FOR: Final = timedelta(days=92)  # as long as the checklist takes one for current


def runbook(facts: Facts) -> Page:
    """Write the page."""
    ways = disasters(facts)
    return Page(
        f"Runbook: PostgreSQL cluster {facts.cluster}",
        tuple(_intro(facts)),
        (
            Section("what-happened", "What happened?", (
                Words("Write down the time and what was seen. Change nothing before one of these "
                      "sections says so; delete nothing at all."),
                Grid(("what", "section"), tuple((way.title, f"{n}") for n, way in
                                                enumerate(ways, 2))),
            )),
            *ways,
            _needed(facts),
            _config(facts),
            _repositories(facts),
            _state(facts),
            Section("people", "Who to call", (Blanks(_WHO),)),
        ),
    )  # fmt: skip


def _intro(facts: Facts) -> list[Block]:
    to = facts.restorable_to
    state = f"could be restored up to {_at(to)}" if to else "NOTHING could be restored"
    found: list[Block] = [
        Words(f"Written {_at(facts.written_at)} on {facts.host} by pgkeep {facts.version}. At that "
              f"time cluster {facts.cluster} {state}. Write it again when anything "
              f"changes, and by {facts.written_at + GOOD_FOR:%Y-%m-%d} at the latest, after a "
              "drill; keep it where none of these hosts is."),
        Words("Commands can be typed as they stand, one after the other; words in CAPITALS are to "
              "be replaced. What is too long for a line goes on in the next, without a space where "
              "a path or an address is broken. Times with a drill's date are what that drill "
              "measured, not what is promised; where it says \"a guess\" or \"not measured\", "
              "nobody has measured it."),
        Words(f"Run them as the user that owns the data directory: {_owner(facts)}. Where systemd "
              "or another tool runs the server, let that tool stop and start it instead of pg_ctl."
              ),
    ]  # fmt: skip
    if facts.troubles:
        found.append(Words(f"NOT ALL could be asked: {'; '.join(facts.troubles)}."))
    return found


def _owner(facts: Facts) -> str:
    return facts.server.owner or facts.user


def _needed(facts: Facts) -> Section:
    server = facts.server
    extra = "[objectlock]" if any(place.locks for place in facts.places) else ""
    pip = "/opt/pgkeep/bin/pip"
    return Section("needed", "What a host needs, and how to get it", (
        Grid(("what", "which"), (
            ("PostgreSQL", f"{server.version} ({server.source})"),
            ("its programs", server.programs or "not found on the host that wrote this"),
            ("data directory", server.data_directory or "not known"),
            ("port", str(server.port) if server.port else "not known"),
            ("sockets", server.sockets or "not known"),
            ("configuration", _listed((server.config_file, server.hba_file))),
            ("tablespaces", _listed(server.tablespaces)),
            ("databases", _listed(server.databases)),
            ("size", format_size(server.size) if server.size else "not known"),
            ("runs as", _owner(facts)),
            ("pgkeep", f"{facts.version}, Python {facts.python}"),
        )),
        Step("Install pgkeep, as root; a later version reads what this one wrote.",
             ("python3 -m venv /opt/pgkeep", f"{pip} install 'pgkeep{extra}=={facts.version}'",
              "ln -s /opt/pgkeep/bin/pgkeep /opt/pgkeep/bin/pgkeep-wal /usr/local/bin/",
              "pgkeep version")),
        Words("Without a network: keep the wheels beside this page (pip download), and install "
              "with pip install --no-index --find-links DIRECTORY."),
    ))  # fmt: skip


def _listed(texts: tuple[str, ...]) -> str:
    return ", ".join(filter(None, texts)) or "none, or not known"


def _config(facts: Facts) -> Section:
    c = Commands(facts)
    return Section("config", "The config", (
        Words(f"{facts.config_file} as it was, without secrets. Values that say (not shown) "
              "must be filled in; nothing of them is needed to restore."),
        Listing(facts.config_text),
        Step("Does pgkeep understand it, and reach everything?", (c.pgkeep("check"),)),
    ))  # fmt: skip


def _repositories(facts: Facts) -> Section:
    blocks: list[Block] = []
    for place in facts.places:
        blocks += _place(place)
    blocks.append(
        Words("Two files are not needed to restore and get lost easily: the service file of "
              "pgkeep, and ~/.pgpass of its user. Write down where they come from.")
    )  # fmt: skip
    return Section("repositories", "Where the backups are, and what opens them", tuple(blocks))


def _place(place: Place) -> list[Block]:
    rows = [
        ("name", place.name or "it has none: it is the only one"),
        ("address", place.address),
        *place.options,
        ("site", place.site or "not given in the config"),
        ("lets in", place.credentials),
        ("encrypted", {True: "yes", False: "no: whoever has it can read it", None: "not known"}[
            place.encrypted]),
    ]  # fmt: skip
    if place.encrypted is not False:
        rows.append(("the config opens it with", place.opened_by))
    if place.trouble:
        rows.append(("TROUBLE", place.trouble))
    blocks: list[Block] = [Grid(("repository", ""), tuple(rows))]
    if place.slots:
        blocks.append(Grid(
            ("key slot", "kind", "made", "label", "who has it (fill in)"),
            tuple((slot.id, slot.kind, _at(slot.made_at), slot.label, "") for slot in place.slots),
        ))  # fmt: skip
    return blocks


def _state(facts: Facts) -> Section:
    rows = [
        ("restorable from", _at(facts.restorable_from)),
        ("restorable to", _at(facts.restorable_to)),
        ("newest backup", _thing(facts.backup)),
        ("newest dump of all databases", _thing(facts.dump)),
    ]
    found = facts.measured
    if found is None:
        rows.append(("test restore", "NEVER: how long a restore takes is not known"))
    else:
        took = format_duration(found.ready_s) if found.ready_s is not None else "not measured"
        rows.append(("test restore", f"{took}, of {found.of}: {drill_words(found)}"))
    c = Commands(facts)
    return Section("state", "What could be restored when this was written", (
        Grid(("what", ""), tuple(rows)),
        Step("Before it is needed: a restore test on this host, which leaves nothing behind. The "
             "next runbook has its times.", (c.pgkeep("drill"),), c.drilled_in()),
    ))  # fmt: skip


def _thing(thing: Thing | None) -> str:
    if thing is None:
        return "none"
    size = f", {format_size(thing.size)}" if thing.size else ""
    return f"{thing.id}, of {_at(thing.at)}{size}"


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "nothing"
