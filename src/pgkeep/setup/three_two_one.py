"""Three copies, two media, one off-site, one that nobody here can delete: which of it holds. Pure.

Judged from facts: what devices, hosts, providers and locks there are, and to which moment each
copy can be restored. What only the config says is named as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pgkeep.setup.verdicts import Verdict, failed, note, ok
from pgkeep.units import format_duration

UNDELETABLE: Final = "1 undeletable"
STALE: Final = timedelta(days=2)  # behind which a copy would not be what anybody restores from


@dataclass(frozen=True, slots=True)
class Copy:
    """One place that holds the cluster's data: the server's own, or a repository."""

    name: str
    medium: str  # what fails as one: a device of a host, a bucket of a provider
    newest: datetime | None  # the newest moment that can be restored; None: nothing can
    elsewhere: bool | None = None  # at another site than the server; None: that cannot be told
    where: str = ""  # why that is known: 'Amazon S3, eu-central-1'
    site: str = ""  # by the config's word
    undeletable: str | None = ""  # why nobody here can delete it; '': anybody can; None: unknown
    trouble: str = ""  # why it cannot be looked at


def judge(server: Copy, repositories: Sequence[Copy], now: datetime) -> list[Verdict]:
    """Return one verdict for each rule; `server` is where the database itself lives."""
    good = [copy for copy in repositories if _is_fresh(copy, now)]
    return [
        _three(repositories, good, now),
        _two(server, good),
        _elsewhere(good),
        _undeletable(good),
    ]


def _is_fresh(copy: Copy, now: datetime) -> bool:
    return not copy.trouble and copy.newest is not None and now - copy.newest <= STALE


def _three(all_of_them: Sequence[Copy], good: Sequence[Copy], now: datetime) -> Verdict:
    told = "; ".join(_state(copy, now) for copy in all_of_them)
    says = f"the database and {len(good)} of {len(all_of_them)} repositories: {told}"
    if len(good) >= 2:
        return ok("3 copies", says)
    if len(all_of_them) < 2:
        fix = "add another [[repository]] on other storage; pgkeep copy --to OTHER fills it"
        return failed("3 copies", says, fix)
    behind = next(copy for copy in all_of_them if copy not in good)
    return failed("3 copies", says, f"bring it up to date: pgkeep copy --to {behind.name}")


def _state(copy: Copy, now: datetime) -> str:
    if copy.trouble:
        return f"{copy.name} cannot be read ({copy.trouble})"
    if copy.newest is None:
        return f"from {copy.name} nothing can be restored"
    age = format_duration(max(0.0, (now - copy.newest).total_seconds()))
    return f"{copy.name} is restorable up to {age} ago"


def _two(server: Copy, good: Sequence[Copy]) -> Verdict:
    media = sorted({server.medium, *(copy.medium for copy in good)})
    says = f"{len(media)}: {'; '.join(media)}"
    shared = [copy.name for copy in good if copy.medium == server.medium]
    if len(media) < 2:
        fix = "one dead disk takes all: put a repository on another, on another host or in a bucket"
        return failed("2 media", says, fix)
    if shared and len(shared) == len(good):
        return failed("2 media", says, f"{', '.join(shared)} would be lost with the database")
    return ok("2 media", says)


def _elsewhere(good: Sequence[Copy]) -> Verdict:
    sure = [copy for copy in good if copy.elsewhere]
    if sure:
        return ok("1 off-site", "; ".join(f"{copy.name}: {copy.where}" for copy in sure))
    said = [copy for copy in good if copy.site and copy.elsewhere is None]
    if said:
        words = "; ".join(f"{copy.name} at {copy.site} ({copy.where})" for copy in said)
        return note("1 off-site", f"by the config's word alone: {words}")
    unclear = [copy for copy in good if copy.elsewhere is None]
    if unclear:
        words = "; ".join(f"{copy.name}: {copy.where}" for copy in unclear)
        fix = 'if it is at another site, say so: site = "NAME" under its [[repository]]'
        return failed("1 off-site", f"nothing tells that any copy is: {words}", fix)
    fix = "keep a copy where a fire, a thief or a broken account here does not reach it"
    return failed("1 off-site", "none: all copies are on this host", fix)


def _undeletable(good: Sequence[Copy]) -> Verdict:
    safe = [copy for copy in good if copy.undeletable]
    if safe:
        return ok(UNDELETABLE, "; ".join(f"{copy.name}: {copy.undeletable}" for copy in safe))
    unknown = [copy.name for copy in good if copy.undeletable is None]
    fix = "whoever takes this host can delete every backup: lock a copy, docs/immutable.md says how"
    if unknown:
        says = f"none that is known: {', '.join(unknown)} did not tell whether objects are locked"
        return failed(UNDELETABLE, says, fix)
    return failed(UNDELETABLE, "none", fix)
