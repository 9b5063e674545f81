"""Takes a plain SQL script as it is, byte for byte, and notes what is in it."""

import os
import re
import tempfile
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import BinaryIO, Final

import msgspec

from pgkeep.logical import inventory
from pgkeep.logical.encodings import readable
from pgkeep.logical.importing.roles import LIMIT, globals_of
from pgkeep.logical.importing.scan import Found, Scan
from pgkeep.logical.importing.storing import NUMBER, Taken, Target
from pgkeep.logical.importing.unpacking import CannotImport, Source
from pgkeep.logical.inventory import Item
from pgkeep.model.target import BadTarget, parse_time
from pgkeep.repository.manifest.dump_facts import GLOBALS, INVENTORY, SCRIPT, DumpedDatabase

BOM: Final = b"\xef\xbb\xbf"
_SUFFIXES: Final = re.compile(
    r"(\.(sql|dump|tar|gz|zst|zstd|txt|bak|backup|pgsql))+$", re.IGNORECASE
)


def stem(path: str) -> str:
    """Return a file's name without what tells its kind."""
    name = os.path.basename(os.path.abspath(path))
    return readable(_SUFFIXES.sub("", name) or name, "UTF8")


def take_script(
    source: Source, target: Target, name: str, zone: tzinfo, *, accept_incomplete: bool
) -> Taken:
    """Store a script; `name` is what the user calls its database. Raise CannotImport."""
    with tempfile.TemporaryFile() as items:
        passing = _Passing(source, items)
        target.store_in_folder(SCRIPT, passing.pieces())
        missing = passing.finish()
        if missing and not accept_incomplete:
            raise CannotImport(
                source.path,
                f"{missing}: it was cut off, or is not of pg_dump",
                "look at its end; --accept-incomplete takes it as it is, and marks it",
            )
        found, made_at = passing.scan.found, _started(passing.scan.found, zone)
        suspicions = (f"it is incomplete: {missing}",) if missing else ()
        if passing.kept is not None and found.cluster and not missing:
            # Roles and tablespaces alone: they have a place of their own in a dump.
            target.files.paths[-1] = GLOBALS
            return Taken(globals=globals_of(bytes(passing.kept)), made_at=made_at)
        named = name or _name(found)
        database = _facts(found, named or stem(source.path))
        content = inventory.encode(database.name, _read_back(items))
        target.store_in_folder(INVENTORY, content)
    return Taken(
        database=database,
        server_version=found.server_version,
        made_at=made_at,
        suspicions=suspicions,
        notes=_notes(found, "" if named else database.name),
    )


class _Passing:
    """Looks at a script while it passes; what is found waits in a file, not in memory."""

    def __init__(self, source: Source, items: BinaryIO) -> None:
        self.scan = Scan()
        self.kept: bytearray | None = bytearray()  # all of it, while it may be roles alone
        self._source = source
        self._items = items
        self._encoder = msgspec.json.Encoder()

    def pieces(self) -> Iterator[bytes]:
        begun = False
        for piece in self._source.pieces():
            if b"\0" in piece:
                why = f"there is a NUL before byte {self._source.position}, which SQL never has"
                raise CannotImport(self._source.path, why, "find an undamaged copy of it")
            self.scan.take(piece if begun else piece.removeprefix(BOM))
            begun = True
            self._note(piece)
            yield piece

    def finish(self) -> str:
        """Return what is missing at its end."""
        missing = self.scan.finish()
        self._note(b"")
        return missing

    def _note(self, piece: bytes) -> None:
        self._items.writelines(self._encoder.encode(item) + b"\n" for item in self.scan.items())
        found = self.scan.found
        if self.kept is not None:
            self.kept += piece
            if found.objects or found.connects or found.rows or len(self.kept) > LIMIT:
                self.kept = None


def _read_back(items: BinaryIO) -> Iterator[Item]:
    decoder = msgspec.json.Decoder(Item)
    items.seek(0)
    for line in items:
        yield decoder.decode(line)


def _name(found: Found) -> str:
    """Return the database that a script is of, if it says so."""
    said = dict.fromkeys([*found.creates, *found.connects])
    return next(iter(said)) if len(said) == 1 else ""


def _started(found: Found, zone: tzinfo) -> datetime | None:
    """Return when pg_dump began; its zone may have a name that nobody knows."""
    for text in (found.started, found.started.rpartition(" ")[0]):
        try:
            return parse_time(text, zone)
        except BadTarget:
            continue
    return None


def _facts(found: Found, name: str) -> DumpedDatabase:
    return DumpedDatabase(
        number=NUMBER,
        name=name,
        encoding=found.encoding,
        dump_version=found.dump_version,
        objects=found.objects,
        schemas=found.schemas,
        tables=found.tables,
        rows=found.rows,
        data_bytes=found.data_bytes,
        sequences=found.sequences,
        large_objects=found.large_objects,
        script=True,
        connects=tuple(dict.fromkeys([*found.creates, *found.connects])),
    )


def _notes(found: Found, guessed: str) -> tuple[str, ...]:
    notes = ["it is kept as a script: it can be exported as such, and restored as a whole only"]
    if found.cluster or len(found.connects) > 1:
        notes.append("it makes a whole cluster: roles and databases of its own choice")
    elif guessed:
        notes.append(
            f"it does not say of which database it is: {guessed} is the file's name, --database "
            "gives another"
        )
    if not found.tables:
        notes.append("no table was found in it")
    elif not found.rows:
        notes.append("no rows were counted: there are none, or they are INSERT statements")
    return tuple(notes)
