"""Reports of drills on their shelf: found by what people type, and never believed unread."""

import pytest

from pgkeep.repository import names
from pgkeep.repository.drills.report import Status
from pgkeep.repository.drills.storing import (
    UnknownDrill,
    find_report,
    read_reports,
    write_report,
)
from pgkeep.repository.marker import moment_of_id, timed_id
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import BlobExists
from support.drill_reports import MOMENT, a_report
from support.manifests import cluster_folder

OLD, NEW = "20261127T010000.000000Z-0000000a", "20261128T010000.000000Z-0000000b"


def test_ids_tell_when_a_drill_ended() -> None:
    id = timed_id(MOMENT, bytes.fromhex("7f3a9c01"))
    assert id == "20261128T005242.000000Z-7f3a9c01"
    assert moment_of_id(id) == MOMENT
    assert moment_of_id("notes") is None


def test_a_report_is_found_by_its_beginning_or_as_the_latest() -> None:
    cluster = cluster_folder()
    with pytest.raises(UnknownDrill, match="there is no such drill") as none:
        find_report(cluster, "latest")
    assert none.value.hint == "make one with pgkeep drill"
    for id in (OLD, NEW):
        write_report(cluster, a_report(id))
    assert find_report(cluster, "latest").id == NEW
    assert find_report(cluster, "20261127").id == OLD
    with pytest.raises(UnknownDrill, match="2 ids begin like that"):
        find_report(cluster, "2026")
    with pytest.raises(UnknownDrill) as caught:
        find_report(cluster, NEW[:-1] + "c")
    assert NEW in caught.value.nearest
    assert caught.value.hint.endswith("? pgkeep drill --list shows all")


def test_a_report_is_written_once() -> None:
    cluster = cluster_folder()
    write_report(cluster, a_report())
    with pytest.raises(BlobExists):
        write_report(cluster, a_report())


def test_damage_is_noted_and_the_newest_that_passed_ends_the_reading() -> None:
    cluster = cluster_folder()
    write_report(cluster, a_report(OLD, Status.PASSED))
    write_report(cluster, a_report(NEW, Status.FAILED))
    other = "20261128T020000.000000Z-0000000c"
    cluster.store.put(names.drill("main", other), [b"{}"])
    moved = "20261128T030000.000000Z-0000000d"
    content = cluster.store.get(names.drill("main", OLD))
    cluster.store.put(names.drill("main", moved), [content])
    older = "20261101T000000.000000Z-00000001"
    cluster.store.put(names.drill("main", older), [b"nobody reads it"])
    found = read_reports(cluster, until_passed=True)
    assert [report.id for report in found.found] == [NEW, OLD]
    assert [bad.name for bad in found.unreadable] == [
        names.drill("main", moved), names.drill("main", other),
    ]  # fmt: skip
    assert all(isinstance(bad.error, Damaged) for bad in found.unreadable)
    assert "it holds drill" in str(found.unreadable[0].error)
    assert found.last is not None
    assert found.last_passed is not None
    assert (found.last.id, found.last_passed.id) == (NEW, OLD)
    assert len(read_reports(cluster).unreadable) == 3
