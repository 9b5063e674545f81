"""Dumps being followed: a stand-in for pg_dump, and what was stored put together again."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pgkeep.logical.capture.backlog import CapturedFile
from pgkeep.logical.capture.capture import CaptureSetup
from pgkeep.repository.manifest.builder import Attributes, ManifestBuilder, StoredChunks
from pgkeep.repository.manifest.tables import Tables
from pgkeep.repository.packs.known import KnownChunks
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.seal import Key

# Writes 'name=size[@rate]' files of rows into a directory, one after the other, rate in MiB/s.
_WRITER = """
import os, random, sys, time
directory, *files = sys.argv[1:]
if not os.path.isdir(directory):
    os.mkdir(directory)
for word in files:
    if word == "fail":
        sys.exit("pg_dump: error: something went wrong")
    name, _, size = word.partition("=")
    size, _, rate = size.partition("@")
    size, chance, begun = int(size), random.Random(name), time.monotonic()
    with open(f"{directory}/{name}", "ab" if name.endswith(".toc") else "wb") as file:
        written = 0
        while written < size:
            rows = chance.randbytes(min(size, 100_000)).hex("|", 50).replace("|", "\\n") + "\\n"
            rows = rows.encode()[: size - written]
            file.write(rows)
            written += len(rows)
            while rate and written > (time.monotonic() - begun) * int(rate) * (1 << 20):
                time.sleep(0.001)
"""


def start_writer(directory: Path, files: str) -> "subprocess.Popen[bytes]":
    """Start what stands in for pg_dump: 'a.dat=5000000@20 b.dat=10 fail'."""
    return subprocess.Popen(
        [sys.executable, "-S", "-c", _WRITER, str(directory), *files.split()],
        process_group=0,
        stderr=subprocess.DEVNULL,
    )


def written(files: str, directory: Path) -> dict[str, bytes]:
    """Return what such a writer leaves when nobody follows it."""
    process = start_writer(directory, " ".join(word.partition("@")[0] for word in files.split()))
    assert process.wait() == 0
    return contents(directory)


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files of a dump but its table of contents."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "toc.dat"}


def setup_for(cluster: ClusterFolder, *, key: Key | None = None, **changes: object) -> CaptureSetup:
    repository = cluster.repository
    setup = CaptureSetup(repository.store.url, repository.id, key, cluster.name)
    return setup._replace(**changes)  # type: ignore[arg-type]


def tables_of(
    files: Iterable[CapturedFile], stored: Iterable[StoredChunks], parent: Tables | None = None
) -> Tables:
    builder = ManifestBuilder()
    for file in files:
        builder.add_file(file.number, file.path, Attributes(0o600, 0, 0, 0))
    for part in stored:
        builder.add_chunks(part)
    return builder.tables(parent or Tables.empty())


def known_of(tables: Tables) -> KnownChunks:
    return KnownChunks.of(tables)


def read_back(
    cluster: ClusterFolder, tables: Tables, files: Sequence[CapturedFile]
) -> Iterator[tuple[str, bytes]]:
    """Yield every file with its content, having compared it with what was said of it."""
    streams = FileStreams(cluster, tables, of="a dump")
    for file in files:
        content = b"".join(streams.read(file.path))
        said = (file.size, file.lines, file.tail)
        assert said == (len(content), content.count(b"\n"), content[-16:]), file
        yield file.path, content


def new_bytes(stored: Iterable[StoredChunks]) -> int:
    return sum(pack.size for part in stored for pack in part.new_packs)


def on_disk(directory: Path) -> int:
    """Return the bytes that files take up, whatever their sizes say."""
    total = 0
    for path in directory.glob("**/*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total
