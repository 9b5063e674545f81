"""Delta restores: files become what the backup holds, and WAL that is nowhere else is not lost."""

import os
import tempfile
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.target import RecoveryTarget, parse_target
from pgkeep.model.timeline import Branch, History
from pgkeep.restore.delta.compare import DeltaWriter, OldFiles, differing_runs
from pgkeep.restore.delta.plan import LocalSegment, LocalWalAtRisk, WalChoice, choose_wal
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.writing import tasks
from pgkeep.restore.writing.copy import FileWriter, Written
from pgkeep.restore.writing.layout import Layout, Owners
from pgkeep.restore.writing.tasks import TaskPlan
from pgkeep.units import MIB
from support.manifests import SEALER, some_facts
from support.overlays import PAGE, StoredFiles, Version, store_files, versions

HISTORIES = st.lists(versions(), min_size=1, max_size=5)
DAMAGE = st.lists(st.tuples(st.sampled_from(["flip", "cut", "grow", "remove"]), st.integers(0, 99)))


def bring_back(stored: StoredFiles, target: Path) -> list[Written]:
    plan = TaskPlan(Layout(stored.tables, str(target), (), Owners({}, {})), 2)
    files = OldFiles(chown=False, sync=False)
    writer = DeltaWriter(FileWriter(stored.reader(), files), files, SEALER)
    return [writer.write(task) for task in plan]


def harm(path: Path, how: str, number: int) -> None:
    if not path.exists():
        return
    size = path.stat().st_size
    if how == "remove":
        path.unlink()
    elif how in ("cut", "grow"):
        os.truncate(path, max(0, size + (number - 50) * 1000 * (1 if how == "grow" else -1)))
    elif size:
        content = bytearray(path.read_bytes())
        content[number * size // 100] ^= 1
        path.write_bytes(content)


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.integers(1, 4), st.lists(DAMAGE, max_size=5))
def test_whatever_happened_to_files_they_come_back(
    histories: list[list[Version]], limit: int, damages: list[list[tuple[str, int]]]
) -> None:
    stored = store_files(histories)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as place:
        patch.setattr(tasks, "_SMALLEST", limit * PAGE)
        patch.setattr(tasks, "_LARGEST", limit * PAGE)
        for path, content in stored.contents.items():
            Path(place, path).write_bytes(content)
        for path, damage in zip(stored.contents, damages, strict=False):
            for how, number in damage:
                harm(Path(place, path), how, number)
        bring_back(stored, Path(place))
        for path, content in stored.contents.items():
            assert Path(place, path).read_bytes() == content
        for done in bring_back(stored, Path(place)):
            assert (done.rewritten, done.files, done.shared) == (0, 0, "")
            assert done.compared == done.size


def test_only_what_differs_is_fetched_and_written(tmp_path: Path) -> None:
    whole = [Version(12, frozenset(range(12)))]
    stored = store_files([whole, whole])
    for path, content in stored.contents.items():
        (tmp_path / path).write_bytes(content)
    harm(tmp_path / "f001", "flip", 50)
    (done,) = bring_back(stored, tmp_path)
    assert (done.files, done.rewritten) == (1, PAGE)
    assert done.compared == 24 * PAGE
    assert done.fetched == int(stored.tables.chunk.sealed[6])


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 5))
def test_differing_runs_are_whole_pages(left: bytes, right: bytes, pages: int) -> None:
    left, right = b"a" * pages * PAGE + left, b"a" * pages * PAGE + right
    changed = bytearray(right)
    for start, end in differing_runs(left, memoryview(right)):
        assert start % PAGE == 0
        assert end % PAGE == 0 or end == len(right)
        changed[start:end] = b"?" * (end - start)
    merged = bytes(r if c == ord("?") else h for c, r, h in zip(changed, right, left, strict=False))
    assert len(left) < len(right) or merged == right


def plan_to(number: int, timeline: int = 1) -> RestorePlan:
    """Return a plan of which segment `number` is the last archived one."""
    backup = some_facts(start_lsn="0/200028", stop_lsn="0/200158").backup()
    first, last = Segment(timeline, 2, MIB), Segment(timeline, number, MIB)
    return RestorePlan(
        cluster="main",
        backup=backup,
        target_dir="/data",
        asked="latest",
        history=History(timeline),
        action=RecoveryTarget().action,
        stop=None,
        settings=(),
        first_segment=first,
        last_segment=last,
        standby=False,
    )


def sketch(text: str) -> list[LocalSegment]:
    """'1:4a 1:5! 2:6' is an archived segment, one with changes, and one of timeline 2 without."""
    found = []
    for word in text.split():
        timeline, _, number = word.partition(":")
        segment = Segment(int(timeline), int(number.rstrip("a!")), MIB)
        found.append(LocalSegment(segment, "a" in number, "!" in number))
    return found


@pytest.mark.parametrize(
    ("local", "target", "discard", "kept"),
    [
        pytest.param("1:4a 1:5!", "latest", False, "5", id="the newest changes stay"),
        pytest.param("1:4a 1:5! 1:6! 1:7", "latest", False, "5 6 7", id="all of them"),
        pytest.param("1:5! 1:6!", "latest", True, "", id="given up"),
        pytest.param("1:5 1:6", "immediate", False, "", id="nothing in them"),
        pytest.param("1:1!", "immediate", False, "", id="older than the backup"),
        pytest.param("1:5!", "immediate", False, "this target", id="a target that leaves it out"),
        pytest.param("1:6!", "latest", False, "does not follow", id="a gap"),
        pytest.param("2:5!", "latest", False, "of timeline 2", id="another timeline"),
        pytest.param("1:4!", "latest", False, "does not follow", id="archived with other content"),
    ],
)
def test_wal_that_is_not_archived(local: str, target: str, discard: bool, kept: str) -> None:
    recovery = RecoveryTarget(parse_target(target, UTC))

    def choose() -> WalChoice:
        return choose_wal(sketch(local), plan_to(4), recovery, "/wal", discard=discard)

    if kept and not kept[0].isdigit():
        with pytest.raises(LocalWalAtRisk) as caught:
            choose()
        assert kept in str(caught.value)
        assert "pgkeep wal push /wal/0000000" in caught.value.hint
        return
    choice = choose()
    assert [segment.number for segment in choice.kept] == [int(word) for word in kept.split()]
    assert bool(choice.given_up) == discard


@pytest.mark.parametrize(
    ("local", "lost"),
    [
        pytest.param("1:1!", "", id="the new primary has replayed it"),
        pytest.param("1:2!", "000000010000000000000002", id="written after it was left"),
        pytest.param("1:2", "", id="nothing in it"),
    ],
)
def test_what_an_old_primary_alone_has_is_in_no_later_backup(local: str, lost: str) -> None:
    """The backup, from segment 4 of timeline 2 on, has nothing of what timeline 1 did later."""
    backup = some_facts(start_lsn="0/400028", stop_lsn="0/400158", timeline=2).backup()
    history = History(2, (Branch(1, Lsn.parse("0/200000")),))
    plan = replace(plan_to(4, timeline=2), backup=backup, history=history, standby=True)

    def choose(*, discard: bool) -> WalChoice:
        return choose_wal(sketch(local), plan, RecoveryTarget(), "/wal", discard=discard)

    if lost:
        with pytest.raises(LocalWalAtRisk, match=f"{lost}.*of timeline 1, while"):
            choose(discard=False)
    else:
        choose(discard=False)
    assert [segment.name for segment in choose(discard=True).given_up] == lost.split()


def test_the_words_for_local_wal() -> None:
    segments = tuple(one.segment for one in sketch("1:5 1:6"))
    assert WalChoice(kept=segments[:1]).words() == (
        "1 WAL segment that is not archived stays in pg_wal, and recovery replays it: "
        "000000010000000000000005",
    )
    assert WalChoice(given_up=segments).words() == (
        "changes in 2 WAL segments that are not archived are given up, as asked: "
        "000000010000000000000005 to 000000010000000000000006",
    )
    assert WalChoice().words() == ()
