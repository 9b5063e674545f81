"""Writes SQL scripts: a custom archive piped through pg_restore, which knows how SQL is written."""

import errno
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, Final

from pgkeep import config_file
from pgkeep.logical.export.archives import write_custom
from pgkeep.logical.export.compressing import compressed
from pgkeep.logical.export.place import ADVICE, told
from pgkeep.logical.export.plan import (
    NO_COMPRESSION,
    CannotExport,
    ExportPlan,
    ExportRequest,
    Part,
)
from pgkeep.logical.export.reading import Content
from pgkeep.logical.export.tally import Tally
from pgkeep.postgres.archive.toc import Algorithm
from pgkeep.repository.manifest.dump_facts import GLOBALS, SCRIPT, DumpedDatabase
from pgkeep.server.client_tools import ClientTools, find_tools, newest_tools
from pgkeep.units import MIB

# pg_dumpall's own words (pg_dumpall.c), so that its output and this are read alike.
_DATABASE: Final = '--\n-- Database "%s" dump\n--\n\n'
_CONNECT: Final = "\\connect %s\n\n"
_END: Final = "--\n-- PostgreSQL database cluster dump complete\n--\n\n"
_PIECE: Final = MIB
_SHOWN: Final = 2000  # characters of what pg_restore said


def write_plain(content: Content, plan: ExportPlan, sink: BinaryIO, tally: Tally) -> None:
    """Write everything as one script. Raise CannotExport, ToolsTooOld."""
    request = plan.request
    # Looked for before the first byte is written.
    tools = {part.database.number: _tools(part.database, request) for part in plan.parts}
    with told(request), compressed(sink, plan.compression) as script:
        if plan.globals:
            write_globals(content, script, tally)
        for part in plan.parts:
            if plan.whole_cluster:
                name = part.database.name.replace("\n", " ")
                script.write((_DATABASE % name).encode("utf-8", "surrogateescape"))
            if part.connect:
                script.write((_CONNECT % part.database.name).encode())
            found = tools[part.database.number]
            if found is None:
                _write_script(content, part, script, tally)
            else:
                direct = plan.compression.algorithm is Algorithm.NONE
                _write_database(content, part, (request, found), (script, direct), tally)
        if plan.whole_cluster:
            script.write(_END.encode())


def write_globals(content: Content, sink: BinaryIO, tally: Tally) -> None:
    """Write the script of roles and tablespaces as it is."""
    tally.phase("writing roles and tablespaces", content.size(GLOBALS))
    for piece in tally.counted(content.read(GLOBALS)):
        sink.write(piece)


def _tools(database: DumpedDatabase, request: ExportRequest) -> ClientTools | None:
    """Return the programs closest to those that made the dump: newer ones write newer SQL."""
    if database.script:
        return None
    if not database.dump_version[:1].isdigit():
        return newest_tools(request.pg_bin or None)
    return find_tools(database.dump_version, f"dump {request.dump}", request.pg_bin or None)


def _write_script(content: Content, part: Part, sink: BinaryIO, tally: Tally) -> None:
    path = f"{part.database.folder}/{SCRIPT}"
    tally.phase(f"writing the script of {part.database.name}", content.size(path))
    for piece in tally.counted(content.read(path)):
        sink.write(piece)


def _write_database(
    content: Content,
    part: Part,
    how: tuple[ExportRequest, ClientTools],
    to: tuple[BinaryIO, bool],
    tally: Tally,
) -> None:
    """Pipe an archive through pg_restore; into the sink itself if that is `direct`."""
    (request, tools), (sink, direct) = how, to
    argv = [tools.tool("pg_restore"), "--format=custom", "--file=-", *part.words]
    with tempfile.TemporaryFile() as messages:
        sink.flush()
        with _running(argv, sink if direct else None, messages) as process:
            assert process.stdin is not None
            pump = None if direct else _Pump(process, sink)
            try:
                write_custom(content, part.database, process.stdin, NO_COMPRESSION, tally)
                process.stdin.close()
            except BrokenPipeError:
                pass  # why pg_restore has ended is told below
            if pump is not None:
                pump.join()
            status = process.wait()
        messages.seek(0)
        said = messages.read().decode(errors="replace").strip()
    if status == -signal.SIGPIPE:
        raise BrokenPipeError
    if status != 0:
        _fail(request, status, said)


@contextmanager
def _running(
    argv: Sequence[str], sink: BinaryIO | None, messages: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run pg_restore; whatever happens, it has ended afterwards."""
    process = subprocess.Popen(
        argv,
        env=dict(config_file.environment()) | {"LC_ALL": "C.UTF-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if sink is None else sink.fileno(),
        stderr=messages,
    )
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            _close(pipe)
        process.wait()


def _close(pipe: IO[bytes] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:
        pass  # what it still held is wanted by nobody


class _Pump:
    """Takes what pg_restore writes to the sink while it is fed. Its errors come with join()."""

    def __init__(self, process: subprocess.Popen[bytes], sink: BinaryIO) -> None:
        self._process = process
        self._sink = sink
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        output: Any = self._process.stdout
        try:
            while piece := output.read1(_PIECE):
                self._sink.write(piece)
        except Exception as error:  # raised again in the thread that waits for this one
            self._error = error
            self._process.kill()  # else it would wait for us for ever


def _fail(request: ExportRequest, status: int, said: str) -> None:
    how = f"exit status {status}" if status > 0 else f"signal {-status}"
    words = " ".join(said.split())[-_SHOWN:] or "it said nothing"
    advice = ADVICE[errno.ENOSPC] if os.strerror(errno.ENOSPC) in said else ""
    why = f"pg_restore ended with {how}: {words}"
    raise CannotExport(request.dump, request.output, why, advice)
