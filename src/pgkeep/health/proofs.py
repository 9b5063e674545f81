"""What verifies and drills on record say of health. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from pgkeep.config.sections import ClusterConfig
from pgkeep.health.condition import Condition, Kind
from pgkeep.health.seen import Seen, is_ahead
from pgkeep.repository.drills.report import Status
from pgkeep.units import format_duration


def of_proofs(seen: Seen, config: ClusterConfig) -> Iterator[Condition]:
    if seen.listing is None:
        return
    yield from _of_damage(seen)
    yield from _of_last_drill(seen)
    yield from _of_overdue(seen, timedelta(seconds=config.objectives.drill_every))


def _of_damage(seen: Seen) -> Iterator[Condition]:
    assert seen.listing is not None
    for id, why in seen.listing.proofs.damaged_backups().items():
        yield seen.critical(
            Kind.VERIFY_FAILED,
            f"backup {id} has lost something",
            why,
            "pgkeep verify --repair, if there is a copy; else pgkeep backup now",
            subject=id,
        )


def _of_last_drill(seen: Seen) -> Iterator[Condition]:
    assert seen.listing is not None
    last = seen.listing.drills.last
    if last is None or last.status is Status.PASSED:
        return
    if last.status is Status.FAILED:
        words = last.failed[0].words if last.failed else "see its report"
        yield seen.critical(
            Kind.DRILL_FAILED,
            "a restore may not bring back what it should: the newest restore test failed",
            words,
            f"pgkeep drill --show {last.id}",
            since=last.finished_at,
        )
    else:
        untested = ", ".join(last.untested) or "everything"
        yield seen.warning(
            Kind.DRILL_FAILED,
            "whether a restore works is not known: the newest restore test could not be made",
            f"not tested: {untested}",
            f"pgkeep drill --show {last.id}",
            since=last.finished_at,
        )


def _of_overdue(seen: Seen, every: timedelta) -> Iterator[Condition]:
    assert seen.listing is not None
    backups, passed = seen.listing.backups, seen.listing.drills.last_passed
    if not backups or not every:
        return
    since = passed.finished_at if passed else backups[0].stopped_at
    if seen.now - since <= every and not is_ahead(since, seen.now):
        return
    age = format_duration(max(0.0, (seen.now - since).total_seconds()))
    cause = (
        f"the newest restore test that passed is {age} old"
        if passed and not is_ahead(since, seen.now)
        else f"the newest restore test that passed is dated {since:%Y-%m-%d}, which is not yet"
        if passed
        else f"there are backups since {age}, and none was ever restored to see"
    )
    yield seen.warning(
        Kind.DRILL_OVERDUE,
        "nobody knows whether a restore works",
        cause,
        f"pgkeep --cluster {seen.cluster} drill",
        since=since + every,
    )
