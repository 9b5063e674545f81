"""Runs a plain SQL script that was imported, in a database of its own."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.masks.rules import BadMasks
from pgkeep.logical.restoring.report import RestoreRequest
from pgkeep.logical.sample.plan import CannotSample
from pgkeep.model.dump import EVERYTHING
from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import SCRIPT, DumpedDatabase
from pgkeep.repository.packs.streams import FileStreams
from pgkeep.repository.repository import ClusterFolder
from pgkeep.server.binaries import Binaries
from pgkeep.server.client_programs import connecting, failed

_LEAVES: Final = re.compile(rb"^\\c(onnect)?\s", re.MULTILINE)


class ScriptLeaves(PgkeepError):
    """A script connects to databases by itself: it would not stay where it is put."""

    code = "script-leaves"
    exit_status = 222

    dump: str

    def __str__(self) -> str:
        return f"cannot restore {self.dump} into one database: its script connects to others itself"

    @property
    def hint(self) -> str:
        return "pgkeep dump export --format plain -o - | psql runs it as pg_dumpall's are meant"


class ScriptUncut(ScriptLeaves):
    """Something was asked of a script that only the archive of a dump allows."""

    code = "script-uncut"

    options: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"cannot restore {self.dump} with {', '.join(self.options)}: it is a script of SQL, "
            "which runs as a whole and as it is"
        )

    @property
    def hint(self) -> str:
        if self.options == ("--create-roles",):
            return "make the roles first: pgkeep dump export DUMP --format globals -o - | psql"
        return "restore the whole of it under another name (-d), and take from there what you need"


def refuse_changes(request: RestoreRequest) -> None:
    """Raise ScriptUncut, BadMasks or CannotSample: a script comes as it is, or not at all."""
    options = {
        "a choice of tables, schemas or data": request.selection != EVERYTHING,
        "--create-roles": request.create_roles,
        "--no-owner": not request.owners,
        "--no-privileges": not request.privileges,
        "--role-map": bool(request.roles),
        "--tablespace-map": bool(request.tablespaces),
        "--no-tablespaces": not request.keep_tablespaces,
    }
    asked = tuple(name for name, is_asked in options.items() if is_asked)
    if asked:
        raise ScriptUncut(request.dump, asked)
    if request.masks:
        raise BadMasks(("the dump is a script of SQL, whose rows pgkeep cannot change",))
    if request.sample:
        raise CannotSample("", "the dump is a script of SQL, whose rows pgkeep cannot choose from")


def restore_script(
    cluster: ClusterFolder,
    manifest: DumpManifest,
    database: DumpedDatabase,
    tools: Binaries,
    conninfo: str,
) -> None:
    """Run a script; its first error ends it. Raise ScriptLeaves or ProgramFailed."""

    def pieces() -> Iterator[bytes]:
        streams = FileStreams(cluster, manifest.tables, of=manifest.facts.id)
        return streams.read(f"{database.folder}/{SCRIPT}")

    # Chunks end at line ends where they can, and a longer line is no command of psql's.
    if any(_LEAVES.search(piece) for piece in pieces()):
        raise ScriptLeaves(manifest.facts.id)
    to = connecting(conninfo)
    argv = [
        tools.tool("psql"), "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1",
        "--single-transaction", "--file=-", f"--dbname={to.conninfo}",
    ]  # fmt: skip
    with subprocess.Popen(
        argv,
        env=dict(to.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            with suppress(BrokenPipeError):  # it has ended: its own words say why
                for piece in pieces():
                    process.stdin.write(piece)
                process.stdin.close()
            said = process.stderr.read().decode(errors="replace").strip()
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if status:
        raise failed("run the script", argv, status, said)
