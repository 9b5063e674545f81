"""Progress where nobody draws bars: few lines, each with rate and time left."""

from pgkeep.cli.progress import LineProgress, how_far
from pgkeep.units import MIB


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_line_a_phase_and_one_every_ten_seconds() -> None:
    lines: list[str] = []
    clock = Clock()
    progress = LineProgress(lines.append, clock)
    progress.phase("copying files", 100 * MIB)
    for second in range(1, 26):
        clock.now = float(second)
        progress.advance(second * MIB)
    progress.phase("waiting for WAL")
    progress.note("a warning\x1b[2J")
    assert lines == [
        "copying files: 100 MiB",
        "copying files: 10 MiB of 100 MiB (10 %), 1 MiB/s, 1 min 30 s left",
        "copying files: 20 MiB of 100 MiB (20 %), 1 MiB/s, 1 min 20 s left",
        "waiting for WAL",
        "a warning\\x1b[2J",
    ]


def test_what_is_not_known_is_left_out() -> None:
    assert how_far(0, None, "bytes", 0) == "0 B"
    assert how_far(3, 12, "files", 0.5) == "3 files of 12 files (25 %)"
    assert how_far(12, 12, "files", 4) == "12 files of 12 files (100 %), 3 files/s"


def test_more_than_expected_is_no_more_than_all() -> None:
    assert how_far(15, 12, "files", 0).endswith("(100 %)")
