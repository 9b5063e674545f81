"""WAL segments that pass for a server's by their first header, with noise behind it."""

import random
import struct

from pgkeep.model.cluster import Generation
from pgkeep.model.segment import Segment
from pgkeep.postgres.versions import VERSIONS

SIZE = 1 << 20
GENERATION = Generation(77123, 18, SIZE)
SEGMENT = Segment(1, 7, SIZE)


def segment_content(seed: int, segment: Segment = SEGMENT) -> bytes:
    """Return what a server could have written."""
    header = struct.pack(
        "<HHIQI4xQII",
        *(VERSIONS[18].wal_magic, 2, segment.timeline, int(segment.start), 0),
        *(GENERATION.system_identifier, SIZE, 8192),
    )
    return header + random.Random(seed).randbytes(SIZE - len(header))
