"""How the reading of a backup is divided among its workers. Pure: sizes in, tasks out.

A task is one worker's unit of work and makes packs of its own, so it should fill some of them; and
there should be so many tasks that all workers finish together: the large ones first, a tail of
small ones last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pgkeep.units import GIB, MIB

CHUNK: Final = MIB  # what files are cut into; parts of a file begin at multiples of it

LARGEST: Final = 256 * MIB  # of one task: 0.4 s of work, and as a rule more than one pack
LARGEST_SCAN: Final = 4 * GIB  # where little of what is read is stored: else packs are tiny
_SMALLEST: Final = 8 * MIB  # of one task, where there is more than that to do
_TASKS_PER_WORKER: Final = 12  # wanted, so that the last ones to finish wait little
_MOST_FILES: Final = 4096  # in one task: opening that many takes as long as reading 256 MiB


class FileToCopy(NamedTuple):
    """A file of the listing, as far as dividing the work goes."""

    entry: int  # its place in the listing
    size: int
    splittable: bool  # several workers may read it: its pages are repaired by WAL in any case


class Part(NamedTuple):
    """A range of one large file, beginning at a multiple of CHUNK."""

    entry: int
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Task(NamedTuple):
    """What one worker does at one go: a part of a large file, or whole files."""

    part: Part | None
    files: tuple[int, ...]  # entries, in the order of the listing
    size: int


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """All tasks, in the order in which they should be handed out."""

    tasks: tuple[Task, ...]
    files: int
    size: int

    def __str__(self) -> str:
        parts = sum(task.part is not None for task in self.tasks)
        return (
            f"{self.files} files, {self.size} bytes in {len(self.tasks)} tasks: "
            f"{parts} parts of large files, {len(self.tasks) - parts} batches of whole files"
        )


def plan_copy(files: Sequence[FileToCopy], jobs: int, largest: int = LARGEST) -> CopyPlan:
    """Divide `files` into tasks for `jobs` workers; every byte of every file is in one task."""
    size = sum(file.size for file in files)
    limit = max(_SMALLEST, min(largest, size // (jobs * _TASKS_PER_WORKER)))
    large = [file for file in files if file.size > limit and file.splittable]
    small = [file for file in files if not (file.size > limit and file.splittable)]
    parts = [part for file in large for part in _split(file.entry, 0, file.size, limit)]
    tasks = [Task(part, (), part.size) for part in _taper(parts, jobs, limit)]
    tasks += _batches(small, jobs, limit)
    tasks.sort(key=lambda task: -task.size)  # stable: neighbours on disk stay neighbours
    return CopyPlan(tuple(tasks), len(files), size)


def _split(entry: int, start: int, end: int, limit: int) -> Iterator[Part]:
    """Cut a range into equal parts of at most about `limit`, at multiples of CHUNK."""
    count = -(-(end - start) // limit)
    step = -(-(end - start) // count)
    step = -(-step // CHUNK) * CHUNK
    while start < end:
        yield Part(entry, start, min(start + step, end))
        start += step


def _taper(parts: list[Part], jobs: int, limit: int) -> list[Part]:
    """Quarter the last part of every worker, so that nobody waits long for the slowest."""
    ordered = sorted(parts, key=lambda part: -part.size)
    kept, last = ordered[:-jobs], ordered[-jobs:]
    quarter = max(limit // 4, CHUNK)
    return kept + [piece for part in last for piece in _split(*part, limit=quarter)]


def _batches(files: Sequence[FileToCopy], jobs: int, limit: int) -> Iterator[Task]:
    """Gather whole files, in their order, into tasks of a quarter of `limit`."""
    most = max(256, min(_MOST_FILES, len(files) // (jobs * 4)))
    batch: list[int] = []
    size = 0
    for file in files:
        if batch and (size + file.size > limit // 4 or len(batch) == most):
            yield Task(None, tuple(batch), size)
            batch, size = [], 0
        batch.append(file.entry)
        size += file.size
    if batch:
        yield Task(None, tuple(batch), size)
