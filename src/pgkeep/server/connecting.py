"""Connections to a server, and what exactly is wrong when there is none.

libpq tells the reason of a refused login only as text, in the server's language; what is not
recognised is passed on as it is. No message here ever holds a password.
"""

import re
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgkeep.errors import PgkeepError

Connection = psycopg.Connection[tuple[Any, ...]]

# A dead peer is noticed within two minutes, in the long silences of a backup as well.
_DEFAULTS: Final = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 60,
    "keepalives_interval": 15,
    "keepalives_count": 4,
}
_UNREADABLE: Final = "(unreadable connection string)"
_SECRETS: Final = ("password", "sslpassword", "scram_client_key", "scram_server_key")


class CannotConnect(PgkeepError):
    """The server does not let us in, or cannot be reached."""

    code = "cannot-connect"
    exit_status = 111

    server: str  # 'db1:5432', or the socket's path
    user: str
    database: str
    why: str

    def __str__(self) -> str:
        return f"cannot connect to PostgreSQL at {self.server} as {self.user}: {self.why}"

    @property
    def hint(self) -> str:
        return "check conninfo in pgkeep.toml; psql with the same words must work"


class ServerDown(CannotConnect):
    """Nobody answers at the server's address."""

    code = "server-down"
    exit_status = 112
    retryable = True

    @property
    def hint(self) -> str:
        return "start the server, or correct host and port of conninfo in pgkeep.toml"


class LoginRefused(CannotConnect):
    """The server does not believe that we are the user: a wrong or missing password, say."""

    code = "login-refused"
    exit_status = 113

    @property
    def hint(self) -> str:
        return (
            f"store the password of {self.user} in ~/.pgpass of the user that runs pgkeep, or "
            "correct the method in pg_hba.conf"
        )


class NoHbaEntry(CannotConnect):
    """pg_hba.conf has no line that lets us in."""

    code = "no-pg-hba-entry"
    exit_status = 114

    @property
    def hint(self) -> str:
        kind = "local" if self.server.startswith("/") else "host"
        address = "" if kind == "local" else "ADDRESS "
        line = f"{kind} {self.database} {self.user} {address}scram-sha-256"
        return f'add the line "{line}" to pg_hba.conf, then SELECT pg_reload_conf()'


class RoleMissing(CannotConnect):
    """The role is not known to the server."""

    code = "role-missing"
    exit_status = 115

    @property
    def hint(self) -> str:
        return "create it with docs/pgkeep-role.sql, or name another with user= in conninfo"


class DatabaseMissing(CannotConnect):
    """The database does not exist, or takes no connections of ours."""

    code = "database-missing"
    exit_status = 116

    @property
    def hint(self) -> str:
        return "name another database with dbname= in conninfo: postgres is the usual one"


class TooManyConnections(CannotConnect):
    """No connection is free."""

    code = "too-many-connections"
    exit_status = 117
    retryable = True

    @property
    def hint(self) -> str:
        return "try again later, or raise max_connections (or the role's CONNECTION LIMIT)"


class ServerNotReady(CannotConnect):
    """The server is there, but is just starting, recovering or stopping."""

    code = "server-not-ready"
    exit_status = 118
    retryable = True

    @property
    def hint(self) -> str:
        return "try again when its log says that it is ready to accept connections"


class BadConninfo(PgkeepError):
    """A connection string that libpq cannot read. It is not shown: it may hold a password."""

    code = "bad-conninfo"
    exit_status = 119

    why: str

    def __str__(self) -> str:
        return f"cannot read the connection string: {self.why}"

    @property
    def hint(self) -> str:
        return (
            "write conninfo like 'host=/var/run/postgresql dbname=postgres', values with blanks "
            "in single quotes, special characters in a URI percent-encoded"
        )


# The first that fits decides. Sources: auth.c, postinit.c, postmaster.c, fe-connect.c.
_REASONS: Final[tuple[tuple[str, type[CannotConnect]], ...]] = (
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", NoHbaEntry),
    (r"authentication failed|no password supplied|not permitted to log in", LoginRefused),
    (r"role .* does not exist", RoleMissing),
    (r"database .* does not exist|not currently accepting connections", DatabaseMissing),
    (r"permission denied for database", DatabaseMissing),
    (r"too many clients|connection slots are reserved|too many connections", TooManyConnections),
    (r"the database system is |in recovery mode|not accepting connections", ServerNotReady),
    (
        r"No such file or directory|Connection refused|timeout expired|timed out|resolve host"
        r"|translate host name|unreachable|No route to host|closed the connection unexpectedly",
        ServerDown,
    ),
)


def connect(conninfo: str, **parameters: Any) -> Connection:
    """Return a connection in autocommit mode. `parameters` win over the connection string.

    Raise CannotConnect or BadConninfo, which never tell a password.
    """
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as error:
        # Not chained: the message below may quote a piece of a password.
        raise BadConninfo(_unreadable(conninfo, str(error))) from None
    if _holds_a_piece_of_a_password(given):
        raise BadConninfo("its host or port holds an '@'; in a URI's password write it as %40")
    words: dict[str, Any] = {**_DEFAULTS, "application_name": "pgkeep", **given, **parameters}
    try:
        return psycopg.connect(
            make_conninfo("", **words),
            autocommit=True,
            prepare_threshold=None,  # a pooler may stand between
        )
    except psycopg.OperationalError as error:
        raise _translated(error, words) from None


def redacted(conninfo: str) -> str:
    """Return a connection string fit for logs: without its secrets, or a remark in its place."""
    try:
        words = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        return _UNREADABLE
    if _holds_a_piece_of_a_password(words):
        return _UNREADABLE
    return make_conninfo("", **{k: v for k, v in words.items() if k not in _SECRETS})


def holds_secret(conninfo: str) -> bool:
    """Tell whether a connection string carries a password. Raise BadConninfo."""
    try:
        words = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as error:
        raise BadConninfo(_unreadable(conninfo, str(error))) from None
    return _holds_a_piece_of_a_password(words) or any(words.get(name) for name in _SECRETS)


def user_in(conninfo: str) -> str:
    """Return as whom a connection string connects; '' when it does not say. Raise BadConninfo."""
    try:
        return str(conninfo_to_dict(conninfo).get("user") or "")
    except psycopg.ProgrammingError as error:
        raise BadConninfo(_unreadable(conninfo, str(error))) from None


def _translated(error: psycopg.OperationalError, words: dict[str, Any]) -> CannotConnect:
    text = _clean(str(error), words)
    kind = next((kind for pattern, kind in _REASONS if re.search(pattern, text)), CannotConnect)
    server, user, database = _address(error, words)
    return kind(server=server, user=user, database=database, why=_reason(text))


def _address(error: psycopg.OperationalError, words: dict[str, Any]) -> tuple[str, str, str]:
    """Return where libpq really went, after its defaults and service files."""
    attempt = error.pgconn
    if attempt is not None and attempt.host:
        host, port = attempt.host.decode(), attempt.port.decode()
        user, database = attempt.user.decode(), attempt.db.decode()
    else:
        host, port = str(words.get("host", "localhost")), str(words.get("port", 5432))
        user, database = str(words.get("user", "the default user")), str(words.get("dbname", ""))
    server = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{host}:{port}"
    return _clean(server, words), user, database


def _reason(text: str) -> str:
    """Return the last attempt's reason, without libpq's words about where it went."""
    last = text.rpartition(" failed: ")[2] or text
    last = re.sub(r"^connection (failed|is bad): ", "", last)
    first = last.strip().splitlines()[0] if last.strip() else "no reason given"
    return re.sub(r"^FATAL:\s+", "", first)


def _clean(text: str, words: dict[str, Any]) -> str:
    """Remove passwords, should a message quote one."""
    for name in _SECRETS:
        secret = words.get(name)
        if secret and len(str(secret)) >= 3:
            text = text.replace(str(secret), "***")
    return text


def _holds_a_piece_of_a_password(words: dict[str, Any]) -> bool:
    """Tell whether 'user:a@b@host' was cut at the wrong '@'. (Abstract sockets begin with one.)"""
    places = [str(words.get(name) or "") for name in ("host", "hostaddr", "port")]
    return any("@" in place[1:] for place in places)


def _unreadable(conninfo: str, message: str) -> str:
    found = re.match(r'invalid (?:connection option|URI query parameter):? "(\w+)"', message)
    if found is None:
        return "its syntax is wrong"
    # Where a password was quoted badly, the unknown option may be a piece of it.
    secret = "password" in conninfo.lower() or "@" in conninfo
    return "it has an unknown option" if secret else f"there is no option {found[1]!r}"
