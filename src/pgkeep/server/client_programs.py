"""Runs pg_dump and its kin: where to connect without a secret in sight, and what they say."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgkeep import config_file
from pgkeep.errors import PgkeepError
from pgkeep.server.connecting import BadConninfo

_SECRETS: Final = ("password", "sslpassword")
_SHOWN: Final = 2000  # characters of a program's messages that an error keeps


class ProgramFailed(PgkeepError):
    """pg_dump, pg_dumpall, pg_restore or psql failed."""

    code = "client-program-failed"
    exit_status = 244

    doing: str  # 'dump database shop'
    program: str
    status: int
    output: str

    def __str__(self) -> str:
        how = f"exit status {self.status}" if self.status >= 0 else f"signal {-self.status}"
        said = " ".join(self.output.split())
        return f"cannot {self.doing}: {self.program} ended with {how}: {said or 'it said nothing'}"

    @property
    def hint(self) -> str:
        if self.status == -signal.SIGKILL:
            return "see whether the kernel ended it for want of memory (dmesg), and run it again"
        return ""


class Connecting(NamedTuple):
    """How a program connects: a word for its command line, and its environment."""

    conninfo: str  # without secrets: everybody on the machine can read a command line
    environment: Mapping[str, str]

    def to(self, database: str) -> "Connecting":
        """Return the same for another database, whatever characters its name has."""
        return self._replace(conninfo=make_conninfo(self.conninfo, dbname=database))


def connecting(conninfo: str, database: str | None = None) -> Connecting:
    """Return how a program connects as we do. Raise BadConninfo."""
    try:
        words: dict[str, Any] = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # Not chained and not quoted: the message may hold a piece of a password.
        raise BadConninfo("libpq does not understand it") from None
    secret = str(words.get("password") or "")
    public = {name: value for name, value in words.items() if name not in _SECRETS}
    public.setdefault("application_name", "pgkeep")
    if database is not None:
        public["dbname"] = database
    environment = config_file.environment() | {"LC_ALL": "C.UTF-8"}
    environment.pop("PGCLIENTENCODING", None)  # pg_dump takes the database's own
    if secret:
        environment["PGPASSWORD"] = secret
    return Connecting(make_conninfo("", **public), environment)


def run_program(  # noqa: PLR0913  # all but two are named
    doing: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: IO[bytes] | bytes | None = None,
    stdout: IO[bytes] | None = None,
    accept: Sequence[int] = (0,),
) -> tuple[bytes, str]:
    """Run a program to its end; return what it wrote and what it said. Raise ProgramFailed."""
    given: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    if stdin is None:
        given = {"stdin": subprocess.DEVNULL}
    done = subprocess.run(
        list(argv),
        env=dict(environment),
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        check=False,
        **given,
    )
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode not in accept:
        raise failed(doing, argv, done.returncode, said)
    return done.stdout or b"", said


def failed(doing: str, argv: Sequence[str], status: int, said: str) -> ProgramFailed:
    """Return the error of a program that ended badly, with how its words begin and end.

    A statement that failed is quoted after the error, and can be of any length.
    """
    half = _SHOWN // 2
    output = said if len(said) <= _SHOWN else f"{said[:half]} ... {said[-half:]}"
    return ProgramFailed(doing, os.path.basename(argv[0]), status, output)
