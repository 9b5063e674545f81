"""Looks at everything the checklist is judged from: repositories, acts, server and config."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from pgkeep.app import App
from pgkeep.checklist.facts import Archive, Channel, CopyRule, Done, Facts, Kit, Rotation, Server
from pgkeep.checklist.judge import judge
from pgkeep.checklist.row import Checklist
from pgkeep.config.sections import RetentionConfig
from pgkeep.config.shown import fingerprint
from pgkeep.coverage.claims import claimed_elsewhere
from pgkeep.coverage.listing import Listing, list_cluster
from pgkeep.errors import PgkeepError
from pgkeep.model.cluster import GenerationId
from pgkeep.model.dump import Dump, Origin
from pgkeep.places import Place
from pgkeep.repository import dumps
from pgkeep.repository.acts.act import (
    ALERT_TEST,
    CHECKLIST,
    EXPIRE,
    KEY_TEST,
    POINT,
    RUNBOOK,
    Act,
    Outcome,
)
from pgkeep.repository.acts.storing import acts, newest_of_each
from pgkeep.repository.drills.report import Report, Status
from pgkeep.repository.keys import RECOVERY, list_slots
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.session import Session
from pgkeep.setup.check import CheckReport
from pgkeep.setup.copies import Kept, look_at_copies
from pgkeep.setup.three_two_one import UNDELETABLE
from pgkeep.setup.verdicts import State, Verdict
from pgkeep.units import format_duration

_NEWEST: Final = 20  # acts of a kind that are read: each repository has its own


def checklist(app: App, now: datetime | None = None) -> Checklist:
    """Look at one cluster and judge it. Raise what is wrong when no repository can be read.

    A server that cannot be asked is no error: its rows are not known.
    """
    now = now or datetime.now(UTC)
    return judge(look(app, now), now)


def look(app: App, now: datetime) -> Facts:
    """Ask for all facts, each once."""
    asked, server_trouble = _server(app)  # first: see coverage/claims.py
    folder = app.cluster_to_read
    listing = list_cluster(folder)
    own = newest_of_each(folder.repository, folder.name)
    rules, rules_trouble = _rules(app, now)
    passed = listing.drills.last_passed
    return Facts(
        cluster=folder.name,
        dump=_dump(folder),
        backup=_backup(listing),
        archive=_archive(listing),
        server=None if asked is None else _judged(asked, app, listing),
        server_trouble=server_trouble,
        sizes=_act(own.get(CHECKLIST), lambda act: act.facts.get("stored", "")),
        checked=_checked(own.get(CHECKLIST)),
        rotations=tuple(_rotations(app, folder)),
        drill=_drill(listing.drills.last),
        drill_passed=_drill(passed),
        drill_every=timedelta(seconds=int(app.settings.objectives.drill_every)),
        repositories=len(app.places),
        rules=tuple(rule for rule in rules if rule.name != UNDELETABLE),
        rules_trouble=rules_trouble,
        locked=next((rule for rule in rules if rule.name == UNDELETABLE), None),
        point=_act(own.get(POINT), lambda act: f"the newest is {act.facts.get('name', '')}"),
        kits=tuple(_kits(app, folder)),
        channels=tuple(_channels(app, folder)),
        runbook=_act(own.get(RUNBOOK), lambda act: f"runbook {act.facts.get('file', '')}".strip()),
        runbook_stale=_stale(own.get(RUNBOOK), app),
    )


def copies_of(app: App, now: datetime) -> CheckReport:
    """Judge 3-2-1 over all repositories. Raise what is wrong when the data's place is unknown."""
    directory = app.find_data_directory()
    name = app.cluster_name

    def kept(place: Place) -> Kept:
        # Its name, or the address without what follows it: how to get there.
        title = place.name or place.plain_address
        return Kept(title, place.address, place.section.site, lambda: place.open().cluster(name))

    return look_at_copies(name, directory, [kept(place) for place in app.places], now)


class _Asked(NamedTuple):
    """What the server said, and what that has to be judged by."""

    server: Server
    generation: GenerationId
    archived: str | None  # the newest file


def _server(app: App) -> tuple[_Asked | None, str]:
    try:
        with app.connect() as session:
            return _seen(session), ""
    except PgkeepError as error:
        return None, str(error)


def _seen(session: Session) -> _Asked:
    facts, stats = session.facts(lists=False), session.archiver_stats()
    archived = None
    if stats.last_archived_wal is not None and stats.last_archived_time is not None:
        at = stats.last_archived_time
        archived = Done(at, f"{stats.last_archived_wal} archived {_utc(at)}")
    server = Server(
        asked_at=facts.clock,
        checksums=facts.data_checksums,
        archives=facts.archiving,
        standby=facts.in_recovery,
        archived=archived,
        failing_since=stats.failed_at,
        failing=stats.last_failed_wal or "" if stats.failed_at else "",
        waiting=session.ready_count(),
    )
    return _Asked(server, facts.generation.id, stats.last_archived_wal)


def _judged(asked: _Asked, app: App, listing: Listing) -> Server:
    """Say of what the server has archived whether it is in a repository."""
    found = [one for one in listing.record.generations if one.generation.id == asked.generation]
    here = any(claimed_elsewhere(asked.archived, record) is None for record in found)
    # In a repository that is away it may be all the same.
    if asked.server.archived is None or here or app.copies.away:
        return asked.server
    wrong = "it is not in the repository: the server archives elsewhere"
    return replace(asked.server, archived=replace(asked.server.archived, wrong=wrong))


def _dump(folder: ClusterFolder) -> Done | None:
    """Return the newest dump that holds all of the cluster."""
    found = [one for one in dumps.dumps(folder).dumps if _is_backup(one)]
    if not found:
        return None
    newest = max(found, key=lambda dump: dump.taken_at)
    return Done(newest.taken_at, f"dump {newest.id}", "; ".join(newest.suspicions))


def _is_backup(dump: Dump) -> bool:
    return dump.origin is Origin.SERVER and dump.all_databases and dump.selection.whole


def _backup(listing: Listing) -> Done | None:
    if not listing.backups:
        return None
    newest = max(listing.backups, key=lambda backup: backup.stopped_at)
    wrong = listing.proofs.damaged_backups().get(newest.id, "")
    if newest.corrupt_pages:
        wrong = f"{newest.corrupt_pages} corrupt pages were in it" + (f"; {wrong}" if wrong else "")
    stranded = {
        one.backup for record in listing.record.generations for one in record.coverage.stranded
    }
    if newest.id in stranded:
        wrong = "it cannot be restored: WAL of its own time is missing"
    return Done(newest.stopped_at, f"backup {newest.id}", wrong)


def _archive(listing: Listing) -> Archive | None:
    record = listing.record.newest
    latest = record.coverage.latest if record else None
    if record is None or latest is None or not record.backups:
        return None
    after = record.backups[-1].first_segment.number
    holes = sum(hole.last.number >= after for hole in latest.holes)
    return Archive(listing.newest_of(record), holes)


def _drill(report: Report | None) -> Done | None:
    if report is None:
        return None
    ready = report.measures.ready_s
    took = f" in {format_duration(ready)}" if ready else ""
    wrong = "" if report.status is Status.PASSED else _why(report)
    return Done(report.finished_at, f"drill {report.id} of {report.of or 'nothing'}{took}", wrong)


def _why(report: Report) -> str:
    bad = [f"{check.title}: {check.words}" for check in report.failed]
    return "; ".join([report.status.value, *bad[:1]])


def _rules(app: App, now: datetime) -> tuple[tuple[CopyRule, ...], str]:
    try:
        return tuple(map(_rule, copies_of(app, now).verdicts)), ""
    except PgkeepError as error:
        return (), str(error)


def _rule(verdict: Verdict) -> CopyRule:
    return CopyRule(verdict.name, verdict.state is not State.FAILED, verdict.says, verdict.fix)


def _kits(app: App, folder: ClusterFolder) -> Iterable[Kit]:
    tests = acts(folder.repository, what=KEY_TEST, limit=_NEWEST).found
    for place in app.places:
        try:
            repository = place.open()
            slots = list_slots(repository.store) if repository.key is not None else []
        except PgkeepError:
            continue  # told by the copies' row
        good = sum(slot.kind == RECOVERY and not slot.damage for slot in slots)
        test = _act(_about(tests, place), _of_kit)
        yield Kit(place.title, repository.key is not None, good, test)


def _of_kit(act: Act) -> str:
    kind = "its recovery key" if act.facts.get("kind") == RECOVERY else "a passphrase"
    return f"opened by {kind}"


def _rotations(app: App, folder: ClusterFolder) -> Iterable[Rotation]:
    done = acts(folder.repository, folder.name, what=EXPIRE, limit=_NEWEST).found
    for place in app.places:
        act = _act(_about(done, place), lambda _: "expired")
        yield Rotation(place.title, _policy(app, place), act)


def _about(newest_first: Iterable[Act], place: Place) -> Act | None:
    """Return the newest act about a repository: another host may call it otherwise."""
    for act in newest_first:
        if place.title == act.facts.get("repository"):
            return act
        if place.plain_address == act.facts.get("address"):
            return act
    return None


def _policy(app: App, place: Place) -> str:
    kept: RetentionConfig = app.retention_in(place, app.cluster_name)
    parts = [f"window {format_duration(int(kept.window))}"] if kept.window else []
    for name in ("daily", "weekly", "monthly", "yearly"):
        parts += [f"{name} {count}"] if (count := getattr(kept, name)) else []
    return ", ".join(parts)


def _channels(app: App, folder: ClusterFolder) -> Iterable[Channel]:
    tests = acts(folder.repository, what=ALERT_TEST, limit=_NEWEST).found
    for channel in app.config.alerts.channels:
        tried = (t for t in tests if channel.name in t.facts.get("channels", "").split(", "))
        yield Channel(channel.name, _act(next(tried, None), lambda _: "a test message was taken"))


def _stale(act: Act | None, app: App) -> str:
    if act is None or act.facts.get("config", "") == fingerprint(app.loaded.table):
        return ""
    return "the config has changed since"


def _act(act: Act | None, words: Callable[[Act], str]) -> Done | None:
    if act is None:
        return None
    wrong = act.facts.get("error", "") or "it failed" if act.outcome is Outcome.FAILED else ""
    return Done(act.at, f"{words(act)} (act {act.id})", wrong)


def _checked(act: Act | None) -> Done | None:
    if act is None or act.facts.get("archive-command") != "ok":
        return None
    return Done(act.at, f"archiving was good (act {act.id})")


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
