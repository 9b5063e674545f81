"""How a plan stands to the wishes, to 3-2-1, to the checklist, and what is left open. Pure."""

from collections.abc import Iterator
from math import inf
from typing import Final

from pgkeep.advise import facts
from pgkeep.advise.costs import Cost
from pgkeep.advise.draft import Answer, Draft
from pgkeep.advise.proposals import HOUR
from pgkeep.advise.repositories import BUCKET, DISK
from pgkeep.advise.wishes import DAY, Hosting, Provider, Wishes
from pgkeep.units import format_duration, format_size

_LOCKS: Final = (Provider.AWS, Provider.OTHER)  # docs/immutable.md: S3 and what speaks its language


def answers(wishes: Wishes, draft: Draft, cost: Cost) -> tuple[Answer, ...]:
    """Say of each wish whether it is met, and what would meet it."""
    return tuple(_answers(wishes, draft, cost))


def _answers(wishes: Wishes, draft: Draft, cost: Cost) -> Iterator[Answer]:
    yield _answer("rpo", draft.rpo <= wishes.rpo, format_duration(draft.rpo), _for_rpo(draft))
    yield _answer(
        "rto", draft.rto <= wishes.rto, format_duration(draft.rto), _for_rto(wishes, draft)
    )
    yield _window(wishes, draft)
    if wishes.table_level:
        found = "dump" in draft.schedule
        yield _answer("table-level", found, "from dumps" if found else "no", "dumps beside it")
    if wishes.offsite:
        met = draft.site_rpo < inf
        says = f"with the site at most {format_duration(draft.site_rpo)} is lost" if met else "no"
        yield _answer("offsite", met, says, "a second repository, elsewhere")
    if wishes.budget is not None:
        over = cost.month - wishes.budget
        says = f"{cost.month:.2f} a month in a year"
        yield _answer("budget", over <= 0, says, f"{over:.2f} a month more, or to keep less")


def _answer(wish: str, met: bool, says: str, takes: str) -> Answer:
    return Answer(wish, met, says, "" if met else takes)


def _for_rpo(draft: Draft) -> str:
    if draft.name == "dumps":
        return "WAL archiving: any other plan"
    if draft.name == "managed":
        return "a replica of the service's, synchronous, beside it"
    return "a synchronous replica beside it: no archive can promise less than some seconds"


def _for_rto(wishes: Wishes, draft: Draft) -> str:
    """Say how fast restoring would have to be, where rates alone can help."""
    if draft.name == "managed":
        return "a standby of the service's to fail over to"
    waits = facts.START.value
    if draft.rates.replay:
        waits += wishes.wal_per_day * draft.made.every / DAY / draft.rates.replay
    left = wishes.rto - waits
    if left <= 0:
        return "a standby to promote, for hardware; backups more often, for accidents"
    needed = wishes.size / left / facts.MEGABYTE
    return (
        f"{needed:,.0f} MB/s instead of {draft.rates.restore / facts.MEGABYTE:.0f} (a drill "
        "measures yours), or a standby to promote"
    )


def _window(wishes: Wishes, draft: Draft) -> Answer:
    if not wishes.window:
        return Answer("retention", True, "no single moments are wanted")
    if draft.window >= wishes.window:
        return Answer("retention", True, f"any second of {format_duration(wishes.window)}")
    if not draft.window:
        return Answer("retention", False, "only the moments of its dumps", "WAL archiving")
    says = f"any second of {format_duration(draft.window)} at most, then the moments of its dumps"
    return Answer("retention", False, says, "a server of one's own, with a WAL archive")


def rules(wishes: Wishes, draft: Draft) -> tuple[Answer, ...]:
    """Return how the plan stands to 3-2-1, with its newer 1 and 0."""
    places = draft.places
    count = 1 + len(places) + draft.made.by_service
    bare = all(place.kind == DISK for place in places)
    elsewhere = [place.name for place in places if place.elsewhere]
    lockable = any(p.kind == BUCKET for p in places) and wishes.provider in _LOCKS
    lock = "lock in the bucket's section" if lockable else "what docs/immutable.md has for it"
    drill = draft.schedule["drill"].split()[0]
    return (
        _answer("3 copies", count >= 3, f"{count}, the database among them", "another repository"),
        _answer(
            "2 kinds of media",
            not bare or draft.made.by_service,
            "disks alone" if bare and not draft.made.by_service else "disks and another store",
            "a bucket or another host",
        ),
        _answer("1 elsewhere", bool(elsewhere), ", ".join(elsewhere) or "none", "--offsite"),
        _answer("1 that nobody can delete", False, "not by itself", lock),
        _answer("0 untested", True, f"a drill, {drill}", ""),
    )


def checklist(wishes: Wishes, draft: Draft, rule: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """Return which rows of `pgkeep checklist` the plan sees to, and what is left to its owner."""
    plan = draft.schedule
    dump, backup = plan.get("dump", ""), plan.get("backup", "")
    daily = dump.startswith(("daily", "every"))
    archives = draft.archive_timeout > 0
    mine = "the service's own" if draft.made.by_service else "no"
    three = all(answer.met for answer in rule[:3])
    left = next((answer.takes for answer in rule[:3] if not answer.met), "")
    return (
        _answer("logical-backup", daily, dump or "no", "a dump a day"),
        _answer("physical-backup", bool(backup), backup or mine, "pgkeep backup"),
        _answer("wal-archiving", archives, "continuous" if archives else mine, "pgkeep init"),
        _answer("archive-command", archives, "pgkeep serve looks" if archives else mine, "WAL"),
        Answer("storage-size", True, plan["checklist"]),
        Answer("rotation", True, plan["expire"]),
        Answer("test-restore", True, plan["drill"]),
        _answer("three-two-one", three, "yes" if three else "no", left),
        _answer("locked-copy", False, "not by itself", rule[3].takes),
        Answer("restore-point", False, "by hand", "pgkeep run --point NAME -- COMMAND"),
        _checksums(wishes),
        Answer("recovery-kit", False, "by hand", "pgkeep key test"),
        Answer("alerts", False, "by hand", "[[alerts.channels]], then pgkeep alert test"),
        Answer("runbook", False, "by hand", "pgkeep runbook"),
    )


def _checksums(wishes: Wishes) -> Answer:
    if wishes.hosting is Hosting.MANAGED:
        return Answer("checksums", False, "in the service's hands", "SHOW data_checksums")
    if wishes.checksums is None:
        return Answer("checksums", False, "not known", "SHOW data_checksums, or --inspect")
    takes = "pgkeep init names the command: pg_checksums --enable, with the server stopped"
    return _answer("checksums", wishes.checksums, "on" if wishes.checksums else "off", takes)


def risks(wishes: Wishes, draft: Draft) -> tuple[str, ...]:
    """Say what the plan leaves open, the gravest first."""
    return tuple(_risks(wishes, draft))


def _risks(wishes: Wishes, draft: Draft) -> Iterator[str]:
    if draft.site_rpo == inf:
        yield "one fire, one account, one mistake away from nothing: no copy is elsewhere"
    if wishes.rpo < facts.LEAST_TIMEOUT + facts.PUSH.value and draft.archive_timeout:
        yield "to lose less than some seconds takes a synchronous replica; no archive promises it"
    if draft.name == "dumps":
        yield "what happened between two dumps is lost, and no accident can be undone"
        yield "each dump reads everything: the server feels it"
    if draft.made.by_service:
        yield "who can delete the instance can delete its backups: the dumps are what outlives it"
    if draft.site_rpo < inf:
        yield "who has the repository's credentials can delete it: docs/immutable.md"
        yield 'who reads the store reads the database, unless: encryption = "passphrase"'
    if draft.archive_timeout and "dump" not in draft.schedule:
        yield "no dump to go back to from a new major version, or from damage that nobody saw"
    if draft.write_all:
        yield "while one of the places is away, WAL waits in pg_wal until all have it: keep room"
    yield from _by_hosting(wishes, draft)
    yield from _by_time(wishes, draft)


def _by_hosting(wishes: Wishes, draft: Draft) -> Iterator[str]:
    if wishes.hosting is Hosting.KUBERNETES:
        if draft.archive_timeout:
            yield (
                "PostgreSQL runs archive_command in its own container: pgkeep must be in that "
                "image, and an operator that sets archive_command itself must leave it alone"
            )
        if draft.places[0].kind == DISK:
            yield "a repository in a pod's file system goes with the pod: give it a volume"
    if wishes.hosting is Hosting.MANAGED and wishes.provider is Provider.GOOGLE:
        yield "Cloud SQL Enterprise goes back 7 days, Enterprise Plus 35"


def _by_time(wishes: Wishes, draft: Draft) -> Iterator[str]:
    if draft.rto <= wishes.rto < draft.rto_year:
        yield (
            f"as it grows, a restore takes {format_duration(draft.rto_year)} in a year: longer "
            f"than the {format_duration(wishes.rto)} that are wanted"
        )
    took = wishes.size / facts.DUMP.value
    if "dump" in draft.schedule and took > 6 * HOUR:
        yield f"a dump of {format_size(wishes.size)} takes about {format_duration(took)}"
    if draft.rates.source != "measured by your drill":
        yield "the time to restore is an estimate until a drill has measured it on your machines"
