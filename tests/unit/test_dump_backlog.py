"""What is read next of the files that pg_dump writes."""

import pytest

from pgkeep.logical.capture.backlog import (
    LARGEST,
    Backlog,
    CapturedFile,
    CapturedFiles,
    Part,
    Taken,
    Task,
)

MIB = 1 << 20


def opened(backlog: Backlog, **sizes: int) -> None:
    for name, size in sizes.items():
        backlog.create(name)
        backlog.grow(name, size)


def closed(backlog: Backlog, **sizes: int) -> None:
    for name, size in sizes.items():
        backlog.create(name)
        backlog.close(name, size)


def take(backlog: Backlog, task: Task, rest: int = 0) -> None:
    """Read all of a task but the last `rest` bytes of growing files."""
    for part in task:
        end = part.end if part.final else max(part.begin, part.end - rest)
        backlog.take(part, Taken(end, end - part.begin, b"x" * min(16, end - part.begin)))


def test_a_growing_file_is_read_when_there_is_enough_and_by_one_at_a_time() -> None:
    backlog = Backlog(5)
    opened(backlog, a=4 * MIB - 1)
    assert backlog.next_task(anything=False) == ()
    assert backlog.grow("a", 4 * MIB + 10)
    assert not backlog.grow("a", 4 * MIB + 10)
    task = backlog.next_task(anything=False)
    assert task == (Part(5, "a", 0, 4 * MIB + 10, final=False),)
    backlog.grow("a", 20 * MIB)
    assert backlog.next_task(anything=True) == ()
    take(backlog, task, rest=10)
    assert backlog.next_task(anything=False) == (
        Part(5, "a", 4 * MIB, 4 * MIB + LARGEST, final=False),
    )


def test_less_is_enough_when_nothing_more_comes() -> None:
    backlog = Backlog(0)
    opened(backlog, a=MIB - 1)
    assert backlog.next_task(anything=True) == ()
    backlog.grow("a", MIB)
    assert backlog.next_task(anything=False) == ()
    assert backlog.next_task(anything=True) == (Part(0, "a", 0, MIB, final=False),)


def test_the_file_with_most_to_read_is_the_first() -> None:
    backlog = Backlog(0)
    opened(backlog, a=6 * MIB, b=7 * MIB, c=5 * MIB)
    tasks = [backlog.next_task(anything=False) for _ in range(4)]
    assert [part.name for task in tasks for part in task] == ["b", "a", "c"]


def test_small_closed_files_wait_for_each_other() -> None:
    backlog = Backlog(0)
    closed(backlog, **{f"f{number}": 10 for number in range(63)})
    assert backlog.next_task(anything=False) == ()
    closed(backlog, f63=10, f64=10)
    task = backlog.next_task(anything=False)
    assert [part.number for part in task] == list(range(64))
    assert all(part.final for part in task)
    assert backlog.next_task(anything=False) == ()
    assert [part.number for part in backlog.next_task(anything=True)] == [64]


def test_a_task_fits_into_the_buffer_of_a_worker() -> None:
    backlog = Backlog(0)
    closed(backlog, a=3 * MIB, b=6 * MIB, c=LARGEST + 1)
    assert backlog.next_task(anything=False) == (Part(0, "a", 0, 3 * MIB, final=True),)
    assert backlog.next_task(anything=False) == (Part(1, "b", 0, 6 * MIB, final=True),)
    large = backlog.next_task(anything=False)
    assert large == (Part(2, "c", 0, LARGEST, final=False),)
    take(backlog, large, rest=100)
    assert backlog.next_task(anything=True) == (Part(2, "c", LARGEST - 100, LARGEST + 1, True),)


def test_a_file_that_is_closed_while_it_is_read_is_read_to_its_end() -> None:
    backlog = Backlog(0)
    opened(backlog, a=2 * MIB)
    task = backlog.next_task(anything=True)
    backlog.close("a", 2 * MIB)
    assert backlog.next_task(anything=True) == ()
    take(backlog, task)
    assert backlog
    last = backlog.next_task(anything=True)
    assert last == (Part(0, "a", 2 * MIB, 2 * MIB, final=True),)
    take(backlog, last)
    assert not backlog
    assert list(backlog.files) == [CapturedFile(0, "a", 2 * MIB, 2 * MIB, b"x" * 16)]


def test_what_gives_few_chunks_is_read_in_larger_parts() -> None:
    """Content without rows is cut only where a megabyte of it is at hand."""
    backlog = Backlog(0)
    opened(backlog, a=4 * MIB)
    (part,) = backlog.next_task(anything=False)
    backlog.take(part, Taken(1000, 0, b""))
    backlog.grow("a", 1000 + LARGEST - 1)
    assert backlog.next_task(anything=False) == ()
    backlog.grow("a", 1000 + LARGEST)
    (part,) = backlog.next_task(anything=False)
    backlog.take(part, Taken(part.end - 1000, 0, b""))
    backlog.grow("a", part.end - 1000 + 4 * MIB)
    assert backlog.next_task(anything=False)


def test_room_is_counted_until_it_is_read() -> None:
    backlog = Backlog(0)
    assert (backlog.size, backlog.read) == (0, 0)
    opened(backlog, a=5 * MIB)
    closed(backlog, b=10)
    assert backlog.size == 5 * MIB + 10 + 2 * 4096
    take(backlog, backlog.next_task(anything=False), rest=MIB)
    assert (backlog.size, backlog.read) == (MIB + 10 + 2 * 4096, 4 * MIB)
    assert list(backlog.writing()) == [("a", 4 * MIB)]
    take(backlog, backlog.next_task(anything=True), rest=MIB)
    backlog.close("a", 5 * MIB)
    while task := backlog.next_task(anything=True):
        take(backlog, task)
    assert (backlog.size, backlog.read) == (0, 5 * MIB + 10)
    assert "a" not in backlog


def test_the_end_of_a_file_may_come_in_two_parts() -> None:
    backlog = Backlog(0)
    opened(backlog, a=MIB)
    (part,) = backlog.next_task(anything=True)
    backlog.take(part, Taken(MIB, 3, b"0123456789abcdef"))
    backlog.close("a", MIB + 3)
    (part,) = backlog.next_task(anything=True)
    backlog.take(part, Taken(MIB + 3, 1, b"XYZ"))
    assert backlog.files[0] == CapturedFile(0, "a", MIB + 3, 4, b"3456789abcdefXYZ")


def test_captured_files_are_a_sequence() -> None:
    files = CapturedFiles(7)
    assert [files.add(name) for name in ("1.dat", "b\udc80")] == [7, 8]
    files.fill(8, 1 << 40, 5, b"end")
    last = CapturedFile(8, "b\udc80", 1 << 40, 5, b"end")
    assert (len(files), files[1], files[-1]) == (2, last, last)
    assert list(files) == [CapturedFile(7, "1.dat", 0, 0, b""), last]
    assert files[1:] == [last]
    with pytest.raises(IndexError):
        files[2]
