"""A first pgkeep.toml, for who has none."""

import os
import secrets
from dataclasses import dataclass, field
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.repository.names import cluster_prefix
from pgkeep.server.connecting import holds_secret

DEFAULT_URL: Final = "/var/lib/pgkeep"
DEFAULT_CONNINFO: Final = "host=/var/run/postgresql dbname=postgres"
PASSPHRASE_FILE: Final = "pgkeep.passphrase"  # noqa: S105 - a file name
# Nothing that deletes: what may go is for the user to say first, under retention.
_SCHEDULE: Final = {
    "backup": "daily 02:00",
    "verify": "weekly sun 05:00",
    "drill": "monthly 1 06:00",
}


class StarterRefused(PgkeepError):
    """A starter config was asked for that cannot be written."""

    code = "starter-refused"
    exit_status = 106

    path: str
    why: str
    advice: str

    def __str__(self) -> str:
        return f"cannot write the config {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(frozen=True, slots=True)
class Starter:
    """What the user said of a config that is to be written."""

    conninfo: str
    url: str
    cluster: str
    encrypted: bool = False
    passphrase: str | None = field(default=None, repr=False)  # None: one is made


def write_starter(path: str, starter: Starter) -> str:
    """Write a config that is not there yet; return its absolute path. Raise StarterRefused.

    With encryption the passphrase is put beside it, for nobody but its owner to read: PostgreSQL
    runs pgkeep-wal without the environment of whoever sets this up.
    """
    path = os.path.abspath(path)
    if holds_secret(starter.conninfo):
        advice = "leave it out, and put it into ~/.pgpass or a service file"
        raise StarterRefused(path, "a password stood on the command line", advice)
    cluster_prefix(starter.cluster)  # raises BadName
    # The secret before the config that points to it. An older one is kept: it may be in use.
    if starter.encrypted:
        beside = os.path.join(os.path.dirname(path), PASSPHRASE_FILE)
        _create(beside, (starter.passphrase or secrets.token_urlsafe(24)) + "\n", 0o600, keep=True)
        _demand_passphrase(beside, starter.passphrase)
    _create(path, starter_text(starter), 0o644, keep=False)
    return path


def _demand_passphrase(path: str, passphrase: str | None) -> None:
    with open(path, encoding="utf-8") as file:
        kept = file.read().rstrip("\r\n")
    if passphrase is not None and kept != passphrase:
        why = "it holds another passphrase than $PGKEEP_PASSPHRASE"
        raise StarterRefused(path, why, "remove it, or unset $PGKEEP_PASSPHRASE to use it")


def starter_text(starter: Starter) -> str:
    """Return the file's content."""
    url = os.path.abspath(starter.url) if starter.url and ":" not in starter.url else starter.url
    encryption = ['encryption = "passphrase"', f'passphrase_file = "{PASSPHRASE_FILE}"']
    lines = [
        "# pgkeep's config. Every option: docs/configuration.md",
        "",
        "[repository]",
        f"url = {_quoted(url or DEFAULT_URL)}",
        *(encryption if starter.encrypted else []),
        "",
        f"[clusters.{_key(starter.cluster)}]",
        f"conninfo = {_quoted(starter.conninfo or DEFAULT_CONNINFO)}",
        "",
        f"[clusters.{_key(starter.cluster)}.schedule] # for pgkeep serve; pgkeep advise has more",
        *(f'{kind} = "{times}"' for kind, times in _SCHEDULE.items()),
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04X}" for c in escaped) + '"'


def _key(name: str) -> str:
    return _quoted(name) if "." in name else name


def _create(path: str, text: str, mode: int, *, keep: bool) -> None:
    try:
        # Exclusive, and with its mode from the first instant.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        if keep:
            return
        advice = "edit it, or name another path with --write-config"
        raise StarterRefused(path, "there is one already, which was left alone", advice) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StarterRefused(path, why, "name another path with --write-config") from error
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
