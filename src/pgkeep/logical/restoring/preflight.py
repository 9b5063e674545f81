"""Everything that would stop a restore, found before anything is made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString, NamedTuple

from pgkeep.errors import PgkeepError
from pgkeep.logical.encodings import readable
from pgkeep.logical.restoring.plan import EntryPlan
from pgkeep.logical.restoring.report import RestoreRequest
from pgkeep.logical.restoring.roles import roles_of
from pgkeep.model.dump import Selection
from pgkeep.postgres.archive.entries import database_clauses
from pgkeep.postgres.versions import major_of
from pgkeep.repository.manifest.codec import DumpManifest
from pgkeep.repository.manifest.dump_facts import DumpedDatabase
from pgkeep.server.session import Session

_SHOWN: Final = 20
_SERVER: Final[LiteralString] = """
SELECT current_setting('server_version'), current_user, rolsuper, rolcreatedb OR rolsuper,
       rolcreaterole OR rolsuper
FROM pg_roles WHERE rolname = current_user
"""
_ENCODING: Final[LiteralString] = """
SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template0'
"""
_MEMBER: Final[LiteralString] = """
SELECT rolname FROM pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER')
"""


class NotFit(PgkeepError):
    """The server cannot take a dump as it is. Nothing was made."""

    code = "target-not-fit"
    exit_status = 207

    dump: str
    problems: tuple[str, ...]
    fixes: tuple[str, ...]

    def __str__(self) -> str:
        more = len(self.problems) - _SHOWN
        shown = "; ".join(self.problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        return f"nothing was restored of {self.dump}: {shown}"

    @property
    def hint(self) -> str:
        return "; ".join(dict.fromkeys(self.fixes))


class WhichDatabase(PgkeepError):
    """A dump holds several databases, or not the one that is wanted."""

    code = "which-database"
    exit_status = 221

    dump: str
    wanted: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        if self.wanted:
            return f"cannot restore database {self.wanted} of {self.dump}: it is not in it"
        if not self.known:
            return f"cannot restore {self.dump} into a database: it holds roles and tablespaces"
        return f"cannot restore {self.dump} into one database: it holds {len(self.known)}"

    @property
    def hint(self) -> str:
        if not self.known:
            return f"pgkeep dump export {self.dump} --format globals -o - | psql makes them"
        return f"choose one with --database: {', '.join(self.known)}; --all restores every one"


class Server(NamedTuple):
    """The server to restore into."""

    version: str
    role: str
    superuser: bool
    may_create: bool
    may_create_roles: bool
    roles: frozenset[str]
    member_of: frozenset[str]
    tablespaces: frozenset[str]
    extensions: frozenset[str]  # that could be made
    collation_version: str  # of the libraries, for the default collation of a new database
    encoding: str  # of a new database, unless it says otherwise

    @property
    def major(self) -> int:
        return major_of(self.version)


def look(session: Session) -> Server:
    """Ask a server what it is and has."""
    version, role, superuser, create, roles = session.query(_SERVER)[0]
    return Server(
        version.split()[0],
        role,
        superuser,
        create,
        roles,
        frozenset(row[0] for row in session.query("SELECT rolname FROM pg_roles")),
        frozenset(row[0] for row in session.query(_MEMBER)),
        frozenset(row[0] for row in session.query("SELECT spcname FROM pg_tablespace")),
        frozenset(row[0] for row in session.query("SELECT name FROM pg_available_extensions")),
        _collation_version(session),
        str(session.query(_ENCODING)[0][0]),
    )


def _collation_version(session: Session) -> str:
    if session.major < 15:
        return ""
    rows = session.query(
        "SELECT coalesce(pg_database_collation_actual_version(oid), '') FROM pg_database"
        " WHERE datname = 'template0'"
    )
    return str(rows[0][0])


def choose_database(manifest: DumpManifest, wanted: str) -> DumpedDatabase:
    """Return the database that is meant. Raise WhichDatabase."""
    facts = manifest.facts
    names = tuple(database.name for database in facts.databases)
    if not wanted and len(names) == 1:
        return facts.databases[0]
    found = facts.database(wanted) if wanted else None
    if found is None:
        raise WhichDatabase(facts.id, wanted, names)
    return found


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, where nothing stops the restore."""

    roles_to_create: tuple[str, ...]
    notes: tuple[str, ...]


def check(
    request: RestoreRequest,
    plan: EntryPlan,
    database: DumpedDatabase,
    server: Server,
    selection: Selection,
) -> Checked:
    """Raise NotFit with all that is wrong at once. Pure."""
    problems, fixes, notes = list[str](), list[str](), list[str]()

    def wrong(problem: str, fix: str) -> None:
        problems.append(problem)
        fixes.append(fix)

    for problem, fix in _basics(request, plan, database, server, selection):
        wrong(problem, fix)
    missing = _missing_roles(request, plan, database.encoding, server)
    if missing and not request.create_roles:
        wrong(
            f"roles are missing: {', '.join(missing)}",
            "--create-roles makes them, --role-map OLD=NEW gives their things to others, "
            "--no-owner --no-privileges to the restoring role",
        )
    elif missing and not server.may_create_roles:
        wrong(f"role {server.role} may not create roles", f'ALTER ROLE "{server.role}" CREATEROLE')
    foreign = sorted(_owners(request, plan) - server.member_of - set(missing))
    if foreign and not server.superuser:
        shown = ", ".join(readable(name, database.encoding) for name in foreign)
        wrong(
            f"role {server.role} may not give things to {shown}",
            f'GRANT these roles TO "{server.role}", or --no-owner',
        )
    spaces = _missing_spaces(request, plan, server)
    if spaces:
        wrong(
            f"tablespaces are missing: {', '.join(spaces)}",
            "create them, or --tablespace-map OLD=NEW, or --no-tablespaces",
        )
    lacking = [name for name in _extensions(plan) if name not in server.extensions]
    if lacking:
        wrong(
            f"extensions are not installed on the server: {', '.join(lacking)}",
            "install their packages there, or leave out what needs them",
        )
    if problems:
        raise NotFit(request.dump, tuple(problems), tuple(fixes))
    if database.collation_version and server.collation_version != database.collation_version:
        notes.append(
            f"collations sort by version {server.collation_version or '?'} here, the source by "
            f"{database.collation_version}: order may differ, indexes are built anew and are right"
        )
    return Checked(tuple(missing), tuple(notes))


def _basics(
    request: RestoreRequest,
    plan: EntryPlan,
    database: DumpedDatabase,
    server: Server,
    selection: Selection,
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with dump and server before names are looked at, with its fix."""
    source = major_of(database.dump_version)
    if source and server.major < source:
        yield (
            f"the server is PostgreSQL {server.version}, and the dump was made for {source}",
            "restore into a server of the same or a newer version",
        )
    if not selection.lists_tables or plan.rows_without_tables:
        yield (
            "it has rows or indexes without the tables they belong to",
            f"pgkeep dump export {request.dump} --format custom -o FILE, and pg_restore FILE into "
            "a database that has these tables",
        )
    if not server.may_create:
        yield (
            f"role {server.role} may not create databases",
            f'ALTER ROLE "{server.role}" CREATEDB',
        )


def _extensions(plan: EntryPlan) -> list[str]:
    return [entry.tag or "" for entry in plan.definitions if entry.desc == "EXTENSION"]


def _missing_roles(
    request: RestoreRequest, plan: EntryPlan, encoding: str, server: Server
) -> list[str]:
    found = roles_of(plan.roles_matter, owners=request.owners)
    wanted = {request.roles.get(role, role) for role in found}
    names = {readable(role, encoding) for role in wanted}
    return sorted(names - server.roles)


def _owners(request: RestoreRequest, plan: EntryPlan) -> set[str]:
    if not request.owners:
        return set()
    owners = {entry.owner for entry in plan.definitions if entry.owner}
    return {request.roles.get(role, role) for role in owners}


def _missing_spaces(request: RestoreRequest, plan: EntryPlan, server: Server) -> list[str]:
    if not request.keep_tablespaces:
        return []
    found = {entry.tablespace or "" for entry in plan.definitions}
    found |= {database_clauses(e)[1] for e in plan.of_database if e.desc == "DATABASE"}
    wanted = {request.tablespaces.get(space, space) for space in found - {""}}
    return sorted(wanted - server.tablespaces)


def parse_map(pairs: Sequence[str], what: str) -> Mapping[str, str]:
    """Read 'old=new' words. Raise BadMap."""
    found: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise BadMap(pair, what)
        found[old] = new
    return found


class BadMap(PgkeepError):
    """A word that should say OLD=NEW."""

    code = "bad-map"
    exit_status = 208

    text: str
    what: str

    def __str__(self) -> str:
        return f"cannot read {self.text!r} as a {self.what}"

    @property
    def hint(self) -> str:
        return "write it like old=new"
