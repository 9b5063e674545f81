"""What pgkeep's role must be allowed in the server, one grant at a time: docs/privileges.md.

Grants on functions count in one database only: the one that pgkeep connects to.
"""

import re
from typing import TYPE_CHECKING, Final, LiteralString, NamedTuple

from pgkeep.errors import PgkeepError

if TYPE_CHECKING:
    from pgkeep.server.session import Session


class MissingPrivilege(PgkeepError):
    """The role that pgkeep uses lacks one grant."""

    code = "missing-privilege"
    exit_status = 122

    purpose: str  # 'start a backup'
    role: str
    database: str
    grant: str  # the SQL to run

    def __str__(self) -> str:
        return (
            f"cannot {self.purpose}: role {self.role} lacks a privilege in database {self.database}"
        )

    @property
    def hint(self) -> str:
        return f"run as a superuser in database {self.database}: {self.grant}"


class Privilege(NamedTuple):
    """One grant and what it is for."""

    name: str  # of the function or the role to be granted
    purpose: str
    grant: LiteralString  # with one %s for the role
    test: LiteralString  # SQL that is true when the current role has it

    def missing(self, role: str, database: str) -> MissingPrivilege:
        """Return the error that names this grant for a role."""
        return MissingPrivilege(self.purpose, role, database, self.sql(role))

    def sql(self, role: str) -> str:
        """Return the statement that a superuser must run."""
        return self.grant % quoted(role) + ";"


def _function(name: LiteralString, arguments: LiteralString, purpose: str) -> Privilege:
    signature: LiteralString = "pg_catalog." + name + "(" + arguments + ")"
    return Privilege(
        name,
        purpose,
        "GRANT EXECUTE ON FUNCTION " + signature + " TO %s",
        "has_function_privilege('" + signature + "', 'EXECUTE')",
    )


def _membership(role: LiteralString, purpose: str) -> Privilege:
    # 'USAGE': a member whose membership is not inherited has none of its privileges (16+).
    return Privilege(
        role, purpose, "GRANT " + role + " TO %s", "pg_has_role('" + role + "', 'USAGE')"
    )


READ_SETTINGS: Final = _membership("pg_read_all_settings", "read where the cluster's files are")
START_BACKUP: Final = _function("pg_backup_start", "text, boolean", "start a backup")
STOP_BACKUP: Final = _function("pg_backup_stop", "boolean", "end a backup")
START_BACKUP_14: Final = _function("pg_start_backup", "text, boolean, boolean", "start a backup")
STOP_BACKUP_14: Final = _function("pg_stop_backup", "boolean, boolean", "end a backup")
SWITCH_WAL: Final = _function("pg_switch_wal", "", "end a WAL segment")
RESTORE_POINT: Final = _function("pg_create_restore_point", "text", "create a restore point")
ARCHIVE_STATUS: Final = _function(
    "pg_ls_archive_statusdir", "", "count the WAL that waits for the archive"
)
# Not in the list below: pgkeep does without it, and before 15 only superusers may.
CHECKPOINT: Final = _membership("pg_checkpoint", "run a checkpoint")


def needed(major: int) -> tuple[Privilege, ...]:
    """Return all that pgkeep needs on a major version, beside LOGIN and CONNECT."""
    start, stop = backup_functions(major)
    return READ_SETTINGS, start, stop, SWITCH_WAL, RESTORE_POINT, ARCHIVE_STATUS


def backup_functions(major: int) -> tuple[Privilege, Privilege]:
    """Return what starting and ending a backup needs; 15 renamed the functions."""
    if major >= 15:
        return START_BACKUP, STOP_BACKUP
    return START_BACKUP_14, STOP_BACKUP_14


def check(session: "Session") -> list[MissingPrivilege]:
    """Return an error, with the grant to run, for each privilege that the role lacks."""
    privileges = needed(session.major)
    rows = session.query(b"SELECT " + ", ".join(p.test for p in privileges).encode())
    return [
        privilege.missing(session.role, session.database)
        for privilege, granted in zip(privileges, rows[0], strict=True)
        if not granted
    ]


def quoted(identifier: str) -> str:
    """Return an identifier as SQL wants it: quoted where it must be."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", identifier):
        return identifier
    return '"' + identifier.replace('"', '""') + '"'
