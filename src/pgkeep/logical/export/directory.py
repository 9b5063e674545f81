"""Writes a database as the directory that pg_dump -Fd made, byte for byte."""

import os
from typing import Final

from pgkeep.logical.export.place import new_directory, told
from pgkeep.logical.export.plan import CannotExport, ExportRequest
from pgkeep.logical.export.reading import Content
from pgkeep.logical.export.tally import Tally
from pgkeep.repository.manifest.dump_facts import INVENTORY, DumpedDatabase

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FILE: Final = 0o600


def write_directory(
    content: Content, database: DumpedDatabase, request: ExportRequest, tally: Tally
) -> None:
    """Write every file of the database into a new directory. Raise CannotExport."""
    names = [name for name in content.names(database) if name != INVENTORY]
    for name in names:
        if "/" in name:
            why = f"{database.folder}/{name} is in a folder, which no dump of pg_dump has"
            raise CannotExport(request.dump, request.output, why)
    paths = [f"{database.folder}/{name}" for name in names]
    tally.phase(f"writing database {database.name}", sum(map(content.size, paths)))
    with told(request), new_directory(request) as directory:
        places = [os.path.join(directory, name) for name in names]
        for place, path in zip(places, paths, strict=True):
            with open(os.open(place, _NEW, _FILE), "wb") as file:
                for piece in tally.counted(content.read(path)):
                    file.write(piece)
        tally.phase("making it durable")
        for place in places:
            _sync(place)
            tally.rest()


def _sync(path: str) -> None:
    """Make one file durable: after all are written, most of it is, and this takes little."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
