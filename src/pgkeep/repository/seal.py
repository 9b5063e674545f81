"""Sealed blocks: compressed, perhaps encrypted, and always checked when they are read.

On disk: docs/formats/sealed-block.md. Nothing heavier than zstd and BLAKE3 is imported here unless
the repository is encrypted: the WAL commands start with this module.
"""

import os
import sys
from functools import partial
from struct import Struct

from blake3 import blake3

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final, NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK: Final = 1  # the kinds: what a block is for, so that none can stand in for another
PACK_CONTENTS: Final = 2
MANIFEST_FACTS: Final = 3
MANIFEST_TABLES: Final = 4
WAL: Final = 5
CENSUS_FACTS: Final = 6
CENSUS_ROWS: Final = 7
DRILL: Final = 8
ACT: Final = 9

PLAIN_LIMIT: Final = 16 << 20  # bytes; a reader never allocates more than this for one block
ID_SIZE: Final = 16
HEADER_SIZE: Final = 52
TAG_SIZE: Final = 16  # what AES-256-GCM adds to a body

_MAGIC: Final = b"PGKS"
_VERSION: Final = 1
_RAW, _ZSTD = 0, 1  # codecs
_OPEN, _AES_256_GCM = 0, 1  # ciphers
_HEADER: Final = Struct("<4sBBBBIII16s16s")
_ID: Final = slice(20, 36)  # in the header
_NO_SALT: Final = bytes(16)
_NONCE: Final = bytes(12)  # never repeats under a key: every key is made for one block
_WINDOW: Final[dict[int, int]] = {
    zstd.DecompressionParameter.window_log_max: 24
}  # 16 MiB, as PLAIN_LIMIT

Plain = bytes | bytearray | memoryview


class Damaged(PgkeepError):
    """Something stored is not what was written: bits flipped, bytes missing, objects swapped."""

    code = "damaged"
    exit_status = 26

    where: str  # the object, and the offset where that helps
    why: str

    def __str__(self) -> str:
        return f"cannot use {self.where}, it is damaged: {self.why}"

    @property
    def hint(self) -> str:
        return (
            "nothing that needs it can be restored from this copy: bring the object back from "
            "another copy of the repository, or take a new backup now"
        )


class FormatTooNew(PgkeepError):
    """Something was written by a newer pgkeep, in a format that this one does not know."""

    code = "format-too-new"
    exit_status = 27

    where: str
    found: int
    known: int

    def __str__(self) -> str:
        return (
            f"cannot read {self.where}: it has format version {self.found}, "
            f"and this pgkeep knows versions up to {self.known}"
        )

    @property
    def hint(self) -> str:
        return "nothing is lost: install the pgkeep version that wrote it, or a newer one"


class WrongKey(PgkeepError):
    """The secret at hand is not the one that fits; what is stored may be perfectly fine."""

    code = "wrong-key"
    exit_status = 35

    where: str
    why: str
    advice: str = "check that the passphrase belongs to this repository (pgkeep key list)"

    def __str__(self) -> str:
        return f"cannot open {self.where}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


class Key(NamedTuple):
    """A repository's master key. Everything else is derived from it; it is never printed."""

    master: bytes  # 32 bytes

    @property
    def id(self) -> int:
        """A number that tells keys apart without telling anything about them; never 0."""
        return key_id_of(self.check)

    @property
    def check(self) -> bytes:
        """What the marker keeps: it recognises the key and does nothing else."""
        return self.derive("key check")

    def derive(self, purpose: str) -> bytes:
        """Return the 32-byte key for one purpose."""
        return blake3(self.master, derive_key_context=f"pgkeep 2026 {purpose}").digest()

    def __repr__(self) -> str:
        return f"Key(id={self.id:08x})"


def key_id_of(check: bytes) -> int:
    """Return the id of the key that has this check."""
    return int.from_bytes(check[:4], "little") or 1


class SealedBlock(NamedTuple):
    """A block as it is stored, and the id of what is in it."""

    id: bytes
    data: bytes


class BlockHeader(NamedTuple):
    """What the first 52 bytes of a sealed block say. Lengths are within limits."""

    codec: int
    cipher: int
    kind: int
    key_id: int
    plain_length: int
    body_length: int
    id: bytes
    salt: bytes

    @property
    def length(self) -> int:
        """Bytes of the whole block."""
        return HEADER_SIZE + self.body_length


class Sealer:
    """Seals and unseals with one key at one level. One per thread; any number per process."""

    def __init__(self, key: Key | None, level: int = 1) -> None:
        self._key_id = 0 if key is None else key.id
        # Makes a hasher; fed piece by piece it gives the same ids as chunk_id().
        self.hasher = blake3 if key is None else partial(blake3, key=key.derive("content ids"))
        self._block_key = None if key is None else key.derive("sealed blocks")
        self._zstd = zstd.ZstdCompressor(level=level)  # making one costs more than a small block

    @property
    def key_id(self) -> int:
        """The key's id as written into headers; 0 without encryption."""
        return self._key_id

    def chunk_id(self, plain: Plain) -> bytes:
        """Return the BLAKE3-128 of `plain`, keyed when the repository is encrypted."""
        return self.hasher(plain).digest(ID_SIZE)

    def seal(self, kind: int, plain: Plain, *, id: bytes | None = None) -> SealedBlock:
        """Compress if that helps, encrypt if there is a key. `id` saves hashing a second time."""
        size = len(plain)
        if size > PLAIN_LIMIT:
            raise ValueError(f"a block of {size} bytes is over the limit")  # a caller's mistake
        id = self.chunk_id(plain) if id is None else id
        self._zstd.set_pledged_input_size(size)
        body: Plain = self._zstd.compress(plain, mode=zstd.ZstdCompressor.FLUSH_FRAME)
        codec = _ZSTD
        if len(body) >= size:
            codec, body = _RAW, plain
        if self._block_key is None:
            facts = (codec, _OPEN, kind, 0, size, len(body), id, _NO_SALT)
            return SealedBlock(id, b"".join((_HEADER.pack(_MAGIC, _VERSION, *facts), body)))
        salt = os.urandom(16)
        facts = (codec, _AES_256_GCM, kind, self._key_id, size, len(body) + TAG_SIZE, id, salt)
        header = _HEADER.pack(_MAGIC, _VERSION, *facts)
        return SealedBlock(id, header + encrypt(_block_key(self._block_key, salt), body, header))

    def unseal(self, kind: int, sealed: Plain, where: str) -> bytes:
        """Return the plain bytes of exactly one block. Raise Damaged, WrongKey or FormatTooNew."""
        header = read_header(sealed, where)
        if len(sealed) != header.length:
            raise Damaged(where, f"it has {len(sealed)} bytes instead of {header.length}")
        if header.kind != kind:
            raise Damaged(where, f"it holds a block of kind {header.kind} instead of {kind}")
        view = memoryview(sealed)
        body: Plain = view[HEADER_SIZE:]
        self._check_key(header, where)
        if self._block_key is not None:
            one_time = _block_key(self._block_key, header.salt)
            opened = decrypt(one_time, body, bytes(view[:HEADER_SIZE]))
            if opened is None:
                raise Damaged(where, "its encryption tag does not fit its content")
            body = opened
        plain = bytes(body) if header.codec == _RAW else _decompress(body, header, where)
        # The last word: whatever went wrong before this line, wrong bytes never pass it.
        if self.chunk_id(plain) != header.id:
            raise Damaged(where, "its content does not fit its BLAKE3 id")
        return plain

    def _check_key(self, header: BlockHeader, where: str) -> None:
        if header.key_id == self._key_id:
            return
        if header.key_id == 0:
            # Whoever can write to the repository could otherwise slip in content of their own.
            raise Damaged(where, "it is not encrypted, but this repository is")
        ours = f"key {self._key_id:08x} is this repository's" if self._key_id else "there is none"
        raise WrongKey(where, f"it is sealed with key {header.key_id:08x}, and {ours}")


def read_header(sealed: Plain, where: str) -> BlockHeader:
    """Read the header at the beginning of `sealed`, which may go on behind the block."""
    if len(sealed) < HEADER_SIZE:
        raise Damaged(where, f"it ends after {len(sealed)} bytes, within a block's header")
    magic, version, *facts = _HEADER.unpack_from(sealed)
    if magic != _MAGIC:
        raise Damaged(where, f"it begins with {magic.hex()} instead of {_MAGIC.hex()}")
    if version > _VERSION:
        raise FormatTooNew(where, version, _VERSION)
    header = BlockHeader(*facts)
    if not _possible(header) or version == 0:
        raise Damaged(where, "its header holds values that are never written")
    return header


def id_of(sealed: Plain) -> bytes:
    """Return the id of a block that has just been unsealed, without reading its header again."""
    return bytes(sealed[_ID])


def _possible(header: BlockHeader) -> bool:
    """Tell whether a writer could have made this header, so that a reader can trust its sizes."""
    tag = TAG_SIZE if header.cipher == _AES_256_GCM else 0
    compressed = header.body_length - tag
    if header.codec == _RAW:
        fits = compressed == header.plain_length
    else:
        fits = header.codec == _ZSTD and 0 < compressed < header.plain_length
    if header.cipher == _AES_256_GCM:
        keyed = header.key_id != 0
    else:
        keyed = header.key_id == 0 and header.salt == _NO_SALT
    return fits and keyed and header.cipher <= _AES_256_GCM and header.plain_length <= PLAIN_LIMIT


def _decompress(body: Plain, header: BlockHeader, where: str) -> bytes:
    """Inflate to the declared length and not a byte more, however much the frame would give."""
    frame = zstd.ZstdDecompressor(options=_WINDOW)
    try:
        plain = frame.decompress(body, max_length=header.plain_length)
        # A frame that is exactly full may still owe its end mark; one byte more would be too many.
        excess = b"" if frame.eof else frame.decompress(b"", max_length=1)
    except (zstd.ZstdError, EOFError) as error:
        raise Damaged(where, f"zstd cannot read it: {error}") from error
    if excess or not frame.eof or frame.unused_data or len(plain) != header.plain_length:
        raise Damaged(where, "its compressed content has not the length that its header says")
    return plain


def _block_key(key: bytes, salt: bytes) -> bytes:
    return blake3(salt, key=key).digest()


def encrypt(one_time_key: bytes, plain: Plain, bound: bytes) -> bytes:
    """AES-256-GCM under a key that is used this once; `bound` is authenticated with it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(one_time_key).encrypt(_NONCE, plain, bound)


def decrypt(one_time_key: bytes, sealed: Plain, bound: bytes) -> bytes | None:
    """Undo encrypt(); None when key, content and `bound` do not belong together."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(one_time_key).decrypt(_NONCE, sealed, bound)
    except InvalidTag:
        return None
