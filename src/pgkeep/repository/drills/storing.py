"""Reads and writes drills' reports. On disk: docs/formats/drills.md.

A report is written once, when its drill has come to its end. It tells of tables and of what queries
returned: where the repository is encrypted, it is sealed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from msgspec import to_builtins

from pgkeep.errors import PgkeepError
from pgkeep.repository import names
from pgkeep.repository.catalog import LATEST, NoMatch, UnknownBackup, match_id
from pgkeep.repository.drills.report import Report, Status
from pgkeep.repository.marker import (
    format_moment,
    read_whole,
)
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import DRILL, Damaged, FormatTooNew, WrongKey
from pgkeep.repository.sealed_document import decode_sealed, encode_sealed
from pgkeep.repository.store.base import BlobMissing, ShortRead, Store

_LIMIT: Final = 8 << 20  # bytes; a report with hundreds of failed queries has a tenth of it
_NONE: Final = "there is no such drill"
_BAD: Final = (Damaged, FormatTooNew, ShortRead, WrongKey)


class UnknownDrill(UnknownBackup):
    """No report of a drill, or more than one, is called that."""

    code = "unknown-drill"

    def __str__(self) -> str:
        return f"cannot find drill {self.wanted!r} of cluster {self.cluster}: {self.why}"

    @property
    def hint(self) -> str:
        if not self.nearest:
            return "make one with pgkeep drill"
        return f"did you mean {' or '.join(self.nearest)}? pgkeep drill --list shows all"


@dataclass(frozen=True, slots=True)
class UnreadableReport:
    """A report that tells nothing, and why."""

    name: str
    error: PgkeepError


@dataclass(frozen=True, slots=True)
class Drills:
    """Reports of a cluster, newest first."""

    found: tuple[Report, ...] = ()
    unreadable: tuple[UnreadableReport, ...] = ()

    @property
    def last(self) -> Report | None:
        return self.found[0] if self.found else None

    @property
    def last_passed(self) -> Report | None:
        """The newest drill that proved something."""
        return next((one for one in self.found if one.status is Status.PASSED), None)


NO_DRILLS: Final = Drills()


def write_report(cluster: ClusterFolder, report: Report) -> None:
    """Store a report, once."""
    name = names.drill(cluster.name, report.id)
    content = _encode(cluster, report)
    _decode(cluster, content, name)  # what cannot be read back must not be stored
    cluster.store.create(name, [content])


def read_report(cluster: ClusterFolder, id: str) -> Report:
    """Read one report by its full id. Raise UnknownDrill, Damaged, FormatTooNew or WrongKey."""
    try:
        return _read(cluster, cluster.store, names.drill(cluster.name, id))
    except BlobMissing:
        raise UnknownDrill(cluster.name, id, (), _NONE) from None


def find_report(cluster: ClusterFolder, wanted: str) -> Report:
    """Return the report that is meant: an id, the beginning of one, or 'latest'."""
    ids = list(report_ids(cluster))
    if wanted == LATEST and ids:
        return read_report(cluster, ids[0])
    try:
        return read_report(cluster, match_id(wanted, ids))
    except NoMatch as no:
        raise UnknownDrill(cluster.name, wanted, no.nearest, *(no.why or (_NONE,))) from None


def report_ids(cluster: ClusterFolder) -> Iterator[str]:
    """Yield the ids of all reports, newest first."""
    prefix = names.drills_prefix(cluster.name)
    found = [blob.name for blob in cluster.store.list(prefix) if blob.name.endswith(".json")]
    for name in sorted(found, reverse=True):  # ids begin with the time
        yield name.removeprefix(prefix).removesuffix(".json")


def read_reports(cluster: ClusterFolder, *, until_passed: bool = False) -> Drills:
    """Read all reports; with `until_passed` no further back than to one that passed.

    An unreadable one is noted; a failing store is raised.
    """
    found: list[Report] = []
    unreadable: list[UnreadableReport] = []
    for id in report_ids(cluster):
        try:
            found.append(read_report(cluster, id))
        except UnknownDrill:
            continue  # removed since it was listed
        except _BAD as error:
            unreadable.append(UnreadableReport(names.drill(cluster.name, id), error))
            continue
        if until_passed and found[-1].status is Status.PASSED:
            break
    return Drills(tuple(found), tuple(unreadable))


def _encode(cluster: ClusterFolder, report: Report) -> bytes:
    shown = {"id": report.id, "cluster": report.cluster}
    return encode_sealed(cluster.repository, DRILL, _facts(report), shown)


def _facts(report: Report) -> dict[str, Any]:
    facts: dict[str, Any] = to_builtins(report)
    for field in ("started_at", "finished_at"):
        facts[field] = format_moment(getattr(report, field))
    newest = report.measures.newest_commit
    facts["measures"]["newest_commit"] = format_moment(newest) if newest else None
    return facts


def _read(cluster: ClusterFolder, store: Store, name: str) -> Report:
    if store.union is not None:
        return store.union.intact(lambda copy: _read(cluster, copy, name))
    where = f"{name} in {store.url}"
    report = _decode(cluster, read_whole(store, name, _LIMIT), where)
    if names.drill(cluster.name, report.id) != name or report.cluster != cluster.name:
        raise Damaged(where, f"it holds drill {report.id} of cluster {report.cluster}")
    return report


def _decode(cluster: ClusterFolder, content: bytes, where: str) -> Report:
    return decode_sealed(cluster.repository, DRILL, content, where, Report)
