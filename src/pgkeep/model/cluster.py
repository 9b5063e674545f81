"""Which cluster: identity that survives moves, renames and copies of the host."""

from dataclasses import dataclass
from typing import NewType

ClusterName = NewType("ClusterName", str)  # what the config calls it; also its folder
GenerationId = NewType("GenerationId", str)


def generation_id(major: int, system_identifier: int) -> GenerationId:
    """Return the name of a generation: '18-7710983248089545577'."""
    return GenerationId(f"{major}-{system_identifier}")


@dataclass(frozen=True, slots=True)
class Generation:
    """One system identifier under one major version: what initdb or pg_upgrade begins.

    WAL and backups of different generations never fit together.
    """

    system_identifier: int
    major: int
    segment_size: int  # bytes of a WAL segment
    block_size: int = 8192
    segment_blocks: int = 131072  # blocks in one file of a relation

    @property
    def id(self) -> GenerationId:
        return generation_id(self.major, self.system_identifier)
