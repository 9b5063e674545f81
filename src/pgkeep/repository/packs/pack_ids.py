"""Ids of packs that say which attempt stored them. On disk: docs/formats/repository.md."""

import os
from typing import Final

from blake3 import blake3

TAG: Final = slice(1, 7)  # of a pack's id; the first byte spreads packs over folders


def tag_of(attempt: str) -> bytes:
    """Return what the ids of all packs of a backup or dump have in common."""
    return blake3(attempt.encode()).digest(TAG.stop - TAG.start)


def pack_id(tag: bytes) -> bytes:
    """Return a new id for a pack."""
    chance = os.urandom(10)
    return chance[:1] + tag + chance[1:]
