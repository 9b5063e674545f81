"""Dividing the work of a backup among its workers."""

from pgkeep.backup.plan import FileToCopy, plan_copy
from pgkeep.units import GIB, KIB


def test_nothing_to_copy() -> None:
    assert plan_copy([], 2).tasks == ()


def test_small_files_share_tasks() -> None:
    plan = plan_copy([FileToCopy(i, 8 * KIB, True) for i in range(20_000)], 2)
    assert len(plan.tasks) <= 80
    assert all(len(task.files) <= 4096 for task in plan.tasks)


def test_a_large_file_that_may_change_as_a_whole_has_one_reader() -> None:
    plan = plan_copy([FileToCopy(0, 5 * GIB, False), FileToCopy(1, GIB, True)], 2)
    first, *rest = plan.tasks
    assert first.files == (0,)
    assert all(task.part for task in rest)


def test_a_small_cluster_still_keeps_two_workers_busy() -> None:
    plan = plan_copy([FileToCopy(i, 80 * KIB, True) for i in range(900)], 2)
    assert len(plan.tasks) >= 4


def test_it_says_what_it_will_do() -> None:
    plan = plan_copy([FileToCopy(0, GIB, True), FileToCopy(1, 10, True)], 1)
    assert str(plan) == (
        "2 files, 1073741834 bytes in 16 tasks: 15 parts of large files, 1 batches of whole files"
    )
