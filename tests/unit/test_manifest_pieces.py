"""Large manifests go through memory in pieces, and are proven before they are stored."""

import numpy as np
import pytest

from pgkeep.repository.manifest.checks import BadManifest
from pgkeep.repository.manifest.codec import OF_BACKUP, Manifest, decode, encode, prove
from pgkeep.repository.manifest.pieces import Pieces
from pgkeep.repository.seal import Damaged
from support.manifests import BACKUP, SEALER, all_columns, encoded, manifest_of, with_column

WHERE = "clusters/main/backups/x/manifest"


def test_a_range_is_read_across_pieces() -> None:
    pieces = Pieces([b"abc", b"", b"de", b"fghi"])
    assert pieces.size == 9
    assert bytes(pieces.read(1, 2)) == b"bc"
    assert bytes(pieces.read(2, 5)) == b"cdefg"
    assert bytes(pieces.read(0, 9)) == b"abcdefghi"


def test_pieces_are_let_go_only_when_they_lie_wholly_before() -> None:
    pieces = Pieces([b"abc", b"def", b"ghi"])
    pieces.let_go(5)
    assert bytes(pieces.read(3, 6)) == b"defghi"
    assert bytes(pieces.read(0, 3)) == b""


@pytest.mark.parametrize("length", [7, 64, 1000])
def test_a_manifest_is_the_same_whatever_the_pieces(length: int) -> None:
    manifest = manifest_of("base/ base/1/ base/1/1259=3000kB base/1/2=8kB")
    content = encoded(manifest)
    pieces = Pieces([content[at : at + length] for at in range(0, len(content), length)])
    found = decode(pieces, SEALER, WHERE, OF_BACKUP)
    assert found.facts == manifest.facts
    assert all_columns(found.tables) == all_columns(manifest.tables)


def test_what_is_read_back_as_it_was_is_proven() -> None:
    manifest = manifest_of("a=8kB b=3000kB")
    assert prove(encode(manifest, SEALER), manifest, SEALER, WHERE, OF_BACKUP).id == BACKUP


def test_other_content_than_was_to_be_written_is_refused() -> None:
    manifest = manifest_of("a=8kB b=3000kB")
    inode = np.full(len(manifest.tables.file), 7, np.uint64)
    other = Manifest(manifest.facts, with_column(manifest.tables, "file.inode", inode))
    with pytest.raises(BadManifest, match="it would not be read as it was written"):
        prove(encode(other, SEALER), manifest, SEALER, WHERE, OF_BACKUP)


def test_a_block_that_was_damaged_in_memory_is_refused() -> None:
    manifest = manifest_of("a=8kB b=3000kB")
    parts = encode(manifest, SEALER)
    parts[-1] = parts[-1][:-1] + bytes([parts[-1][-1] ^ 1])
    with pytest.raises((BadManifest, Damaged)):
        prove(parts, manifest, SEALER, WHERE, OF_BACKUP)
