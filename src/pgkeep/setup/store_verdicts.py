"""What the self-test of a store means for recovery: the effect first, then what was seen. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.setup.verdicts import Verdict, failed, note, ok
from pgkeep.units import format_duration

CLOCK_NOTE: Final = 5.0  # seconds apart: more than a network and whole seconds explain
CLOCK_FAILED: Final = 600.0  # seconds apart: S3 refuses requests from fifteen minutes on
RIGHTS: Final = ("write", "read", "list", "delete")

# What it would mean for recovery if a store did not keep what each question is about.
_MEANING: Final = {
    "conditional put": "two pgkeep at once could overwrite each other's WAL and backups",
    "racing puts": "two pgkeep at once could overwrite each other's WAL and backups",
    "reads": "restores from here could get other bytes than backups stored",
    "listing": "WAL and backups that are there would be called missing, or the reverse",
    "long listing": "WAL and backups that are there would be called missing",
    "overwriting": "two pgkeep would not see each other's locks, and could undo each other's work",
    "large objects": "backups of large clusters could not be stored, or not be trusted",
    "store clock": "pgkeep cannot tell what is old in this store, and expire refuses to work",
}
_FIX: Final = {
    "conditional put": "use a store that refuses a taken name (If-None-Match: *, as S3 itself "
    "does), or update this one",
    "racing puts": "use a store whose conditional put is atomic (S3 itself is), or update this one",
    "reads": "something between pgkeep and the disks changes or cuts bytes: look at proxies "
    "and the store's own log; then pgkeep verify",
    "listing": "use a store whose listings are current (S3 itself is), or go past the cache in "
    "front of it",
    "long listing": "the store, or a proxy in front of it, loses the mark by which a listing goes "
    "on: update it, or use another",
    "overwriting": "go past the cache in front of the store, or use one that shows writes at once",
    "large objects": "the store must know uploads in parts, and copies on condition that a name is "
    "free: update it, or use another",
}  # fmt: skip


class Lack(NamedTuple):
    """What a store did not do as it must; `seen` follows what it means."""

    seen: str


class Rights(NamedTuple):
    """What credentials may do: the refusals, by right."""

    refused: Mapping[str, PgkeepError]

    def allow(self, *rights: str) -> bool:
        return not self.refused.keys() & set(rights)


def of_lack(name: str, lack: Lack) -> Verdict:
    return failed(name, f"{_MEANING[name]}: {lack.seen}", _FIX[name])


def of_error(name: str, error: PgkeepError) -> Verdict:
    """`error` came where the store should have answered the question `name`."""
    return failed(name, f"{_MEANING[name]}: {error}", error.hint or _FIX.get(name, ""))


def of_rights(user: str, rights: Rights) -> Verdict:
    """Say which rights there are, and what those that are missing prevent."""
    refused = rights.refused
    if not refused:
        return ok("writable", f"as user {user}: write, read, list and delete are allowed")
    shown = ", ".join(f"{right} {'no' if right in refused else 'yes'}" for right in RIGHTS)
    first = next(right for right in RIGHTS if right in refused)
    error = refused[first]
    says = f"{_PREVENTED[first]} ({shown}): {error}"
    if first == "delete":
        fix = (
            "if it is meant so, run pgkeep expire elsewhere, with credentials that may delete\n"
            "they also remove what this test leaves below probes/"
        )
        return note("writable", says, fix)
    return failed("writable", says, error.hint)


_PREVENTED: Final = {
    "write": "nothing can be backed up or archived",
    "read": "what is stored can be neither verified nor restored with these credentials",
    "list": "nobody can see what could be restored, and missing looks like forbidden",
    "delete": "backups are safe from whoever has these credentials, and cannot be expired with "
    "them",
}  # fmt: skip


def of_conditional_put(*, refused: bool, kept: bool) -> Lack | None:
    """`refused`: the second create of a name; `kept`: the first one's content is still there."""
    if not kept:
        return Lack("a second create of one name replaced what the first had stored")
    if not refused:
        return Lack("a second create of one name was confirmed, though nothing was stored")
    return None


def of_race(winners: Sequence[int]) -> Lack | None:
    """`winners`: how many of two creates at once succeeded, race by race."""
    if any(count > 1 for count in winners):
        lost = sum(count > 1 for count in winners)
        return Lack(f"of two creates of one name at once, both succeeded in {lost} of "
                    f"{len(winners)} races")  # fmt: skip
    if any(count == 0 for count in winners):
        return Lack("of two creates of one name at once, neither succeeded")
    return None


def of_listing(what: str, wanted: Sequence[str], listed: Sequence[str]) -> Lack | None:
    """`wanted` and `listed` are names, in order; `what` was done before the listing."""
    if list(listed) == list(wanted):
        return None
    missing = len(set(wanted) - set(listed))
    if missing:
        of_all = f"{missing:,} of {len(wanted):,} objects"
        if len(wanted) > missing and list(listed) == list(wanted[: len(listed)]):
            return Lack(f"{what}, a listing ends after {len(listed):,} of {len(wanted):,} objects")
        return Lack(f"{what}, a listing lacks {of_all}")
    more = len(set(listed) - set(wanted))
    if more:
        return Lack(f"{what}, a listing still shows {more:,} that {'are' if more > 1 else 'is'} "
                    "gone")  # fmt: skip
    return Lack(f"{what}, a listing is in no order")


def of_clock(ahead: float) -> Verdict:
    """`ahead`: seconds by which the store's clock is ahead of this host's."""
    apart = abs(ahead)
    which = "ahead of" if ahead > 0 else "behind"
    seen = f"the store's clock is {format_duration(apart)} {which} this host's"
    fix = "set this host's clock by NTP (timedatectl), or the store's"
    if apart >= CLOCK_FAILED:
        return failed("store clock", f"{_MEANING['store clock']}: {seen}", fix)
    if apart >= CLOCK_NOTE:
        return note("store clock", seen, fix)
    return ok("store clock", "the store's and this host's agree")


def of_remains(prefix: str, url: str, error: PgkeepError) -> Verdict:
    """Some of what the test wrote could not be removed."""
    says = f"objects of this test remain in {url}, as {prefix}*: {error}"
    return note("cleared", says, f"remove {prefix}* with credentials that may delete")
