"""How fast restores are, for who has not measured: a drill measures one's own. Bytes a second."""

from typing import Final

# Measured with two cores (docs/benchmarks.md): 447 MB/s, and 66 where the disk was the limit and
# files were small.
GUESSED_RESTORE: Final = 100e6
# One process of PostgreSQL's: 34 MB/s, 201 segments in 98 s on a busy machine (docs/benchmarks.md).
GUESSED_REPLAY: Final = 30e6
