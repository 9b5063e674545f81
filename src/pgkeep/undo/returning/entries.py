"""Which of pg_dump's entries come back with a table that was dropped. Pure.

All of it follows from two tables of contents, of then and of now: what depended on the table and is
gone, and what it needs and is gone. What is there now is never made, changed or passed over: what
hung on it may have been dropped by intent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from pgkeep.postgres.archive.entries import (
    ATTACHED,
    FOREIGN_KEY,
    SETTINGS,
    TABLE_DATA,
    foreign_key,
    subject,
)
from pgkeep.postgres.archive.sql import always_quoted
from pgkeep.postgres.archive.toc import Section, TocEntry

Key = tuple[str, str, str]  # kind, schema, tag

# What a table may need that holds no rows, and can so be made anew without loss.
_MAKEABLE: Final = frozenset(
    {
        "AGGREGATE", "CAST", "COLLATION", "DOMAIN", "EXTENSION", "FUNCTION", "OPERATOR",
        "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "PROCEDURE", "SCHEMA",
        "SEQUENCE", "SHELL TYPE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TYPE",
    }
)  # fmt: skip
# What is of the tables themselves: without it they would not be what they were.
_OWN: Final = frozenset(
    {
        "CHECK CONSTRAINT", "CONSTRAINT", "DEFAULT", "INDEX", "INDEX ATTACH", "POLICY",
        "ROW SECURITY", "SEQUENCE", "SEQUENCE OWNED BY", "TABLE", "TABLE ATTACH",
    }
)  # fmt: skip
_IGNORED: Final = frozenset({*SETTINGS, TABLE_DATA, "SEQUENCE SET", "STATISTICS DATA"})
_RELATIONS: Final = frozenset({"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"})

# pg_backup_archiver.c, _getObjectDescription: whose owners are set by their names,
_OWNED_BY_NAME: Final = frozenset(
    {
        "COLLATION", "CONVERSION", "DOMAIN", "FOREIGN TABLE", "MATERIALIZED VIEW",
        "PROCEDURAL LANGUAGE", "SCHEMA", "SEQUENCE", "STATISTICS", "TABLE",
        "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TYPE", "VIEW",
    }
)  # fmt: skip
# and whose by what DROP calls them, with arguments.
_OWNED_BY_DROP: Final = frozenset(
    {"AGGREGATE", "FUNCTION", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURE"}
)
_IN_TABLESPACES: Final = frozenset({"TABLE", "INDEX", "CONSTRAINT", "MATERIALIZED VIEW"})


class Stage(IntEnum):
    """When an entry is made."""

    DEFINITIONS = 0
    # From here on the rows are there: indexes are quicker so, and triggers don't fire.
    INDEXES = 1
    JOINING = 2  # a partition to a table that is there, and would give it indexes of its own
    REACTIONS = 3
    FOREIGN_KEYS = 4  # late, because they lock the tables at their other ends
    GRANTS = 5


class Returning(NamedTuple):
    """An entry that comes back, and why."""

    entry: TocEntry
    reason: str
    required: bool  # without it nothing is done at all
    stage: Stage

    @property
    def words(self) -> str:
        return words(self.entry)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What comes back with a table."""

    entries: tuple[Returning, ...]  # in the order in which they are made
    left_out: tuple[str, ...]  # for people: what cannot come, and why
    blocking: tuple[str, ...]  # why the table itself cannot come


def key_of(entry: TocEntry) -> Key:
    return (entry.desc, entry.namespace or "", entry.tag or "")


def words(entry: TocEntry) -> str:
    """Return 'index public.users_email' for people."""
    about = subject(entry)
    if about is not None:
        kind = "grants" if entry.desc == "ACL" else entry.desc.lower()
        return f"{kind} on {about.kind.lower()} {about.name}"
    kind = entry.desc.lower().replace("fk ", "foreign key ")
    name = f"{entry.namespace}.{entry.tag}" if entry.namespace else entry.tag or ""
    return f"{kind} {name}"


def choose(
    then: Sequence[TocEntry],
    now: Iterable[TocEntry],
    tables: Sequence[tuple[str, str]],
    extensions: Iterable[str],
) -> Chosen:
    """Choose what comes back with `tables`: a tree, the root first, of which none is there now.

    `extensions` can be made on the live server.
    """
    return _Choice(then, now, tables, extensions).choose()


class _Choice:
    def __init__(
        self,
        then: Sequence[TocEntry],
        now: Iterable[TocEntry],
        tables: Sequence[tuple[str, str]],
        extensions: Iterable[str],
    ) -> None:
        self._then = [entry for entry in then if entry.desc not in _IGNORED]
        self._by_id = {entry.dump_id: entry for entry in self._then}
        self._there = {key_of(entry) for entry in now}
        self._relations = {key[1:] for key in self._there if key[0] in _RELATIONS}
        self._tables = set(tables)
        self._extensions = set(extensions)
        self._dependents: dict[int, list[int]] = {}
        for entry in self._then:
            for needed in self._needs(entry):
                self._dependents.setdefault(needed, []).append(entry.dump_id)
        self._left_out: list[str] = []

    def choose(self) -> Chosen:
        core = {
            entry.dump_id
            for entry in self._then
            if entry.desc == "TABLE" and key_of(entry)[1:] in self._tables
        }
        wanted = dict.fromkeys(sorted(core), "the table itself")
        for one, reason in self._hanging(core).items():
            wanted.setdefault(one, reason)
        blocked = self._blocked(wanted)
        blocking = []
        for entry in self._then:
            one = entry.dump_id
            if one not in wanted or one not in blocked:
                continue
            del wanted[one]
            if one in core:
                blocking.append(blocked[one])
            elif entry.desc not in ATTACHED:
                self._left_out.append(f"{words(entry)}: {blocked[one]}")
        for one, reason in self._needed(wanted).items():
            wanted.setdefault(one, reason)
        required = self._required(core, wanted)
        chosen = [
            Returning(entry, wanted[entry.dump_id], entry.dump_id in required, self._stage(entry))
            for entry in self._then
            if entry.dump_id in wanted
        ]
        chosen.sort(key=lambda one: one.stage)  # stable: pg_dump's order within
        return Chosen(tuple(chosen), tuple(self._left_out), tuple(dict.fromkeys(blocking)))

    def _hanging(self, core: Iterable[int]) -> dict[int, str]:
        """Return what depends on the tables and is gone, each with what it hangs on."""
        found: dict[int, str] = {}
        todo = list(core)
        while todo:
            one = todo.pop()
            for other in self._dependents.get(one, ()):
                entry = self._by_id[other]
                if other in found or self._is_there(entry):
                    continue
                if entry.desc in ("TABLE", "FOREIGN TABLE", "TYPE", "DOMAIN"):
                    if key_of(entry)[1:] not in self._tables:
                        self._left_out.append(f"{words(entry)}: it is to be undone by itself")
                    continue
                found[other] = f"hung on {words(self._by_id[one])}"
                todo.append(other)
        return found | self._keys_to_ancestors(found)

    def _keys_to_ancestors(self, hanging: Iterable[int]) -> dict[int, str]:
        """Return the foreign keys that are gone with a partition: they name its ancestors alone."""
        attached = [self._by_id[one] for one in hanging if self._by_id[one].desc == "TABLE ATTACH"]
        ancestors: dict[tuple[str, ...], str] = {}
        while attached:
            for needed in self._needs(attached.pop()):
                parent = self._by_id[needed]
                name = key_of(parent)[1:]
                if name not in self._tables and name not in ancestors:
                    ancestors[name] = f"hung on a partition of {words(parent)}"
                    attached += [e for e in self._then if _attaches(e, parent)]
        return {
            entry.dump_id: ancestors[tuple(foreign_key(entry).referenced)]
            for entry in (self._then if ancestors else ())
            if entry.desc == FOREIGN_KEY
            and tuple(foreign_key(entry).referenced) in ancestors
            and not self._is_there(entry)
        }

    def _blocked(self, wanted: Iterable[int]) -> dict[int, str]:
        """Return the entries that need something that is gone and cannot be made."""
        wanted = set(wanted)
        blocked: dict[int, str] = {}
        for entry in self._then:  # what is needed stands before what needs it
            one = entry.dump_id
            if self._is_there(entry):
                continue
            why = next((blocked[n] for n in self._needs(entry) if n in blocked), "")
            if not why and one not in wanted:
                why = self._unmakeable(entry)
            if why:
                blocked[one] = why
        return blocked

    def _unmakeable(self, entry: TocEntry) -> str:
        if entry.desc == "EXTENSION" and entry.tag not in self._extensions:
            return f"it needs extension {entry.tag}, which is not installed on the live server"
        if entry.desc in _MAKEABLE or entry.desc in ATTACHED:
            return ""
        return f"it needs {words(entry)}, which is gone too"

    def _needed(self, wanted: Iterable[int]) -> dict[int, str]:
        """Return what the chosen need and is gone, with its grants and comments."""
        found: dict[int, str] = {}
        todo = list(wanted)
        have = set(todo)
        while todo:
            one = todo.pop()
            for other in self._needs(self._by_id[one]):
                if other in have or self._is_there(self._by_id[other]):
                    continue
                have.add(other)
                found[other] = f"gone too, and needed by {words(self._by_id[one])}"
                todo.append(other)
                for about in self._dependents.get(other, ()):
                    said = self._by_id[about]
                    if about in have or self._is_there(said):
                        continue
                    if said.desc in ATTACHED | {"SEQUENCE OWNED BY"}:
                        have.add(about)
                        found[about] = f"about {words(self._by_id[other])}"
        return found

    def _required(self, core: set[int], wanted: Iterable[int]) -> set[int]:
        """Return what makes up the tables, and what that needs."""
        wanted = set(wanted)
        own, todo = set(core), list(core)
        while todo:
            for other in self._dependents.get(todo.pop(), ()):
                entry = self._by_id[other]
                if other in wanted and other not in own and self._is_own(entry):
                    own.add(other)
                    todo.append(other)
        todo = list(own)
        while todo:
            for other in self._needs(self._by_id[todo.pop()]):
                if other in wanted and other not in own:
                    own.add(other)
                    todo.append(other)
        return own

    def _is_own(self, entry: TocEntry) -> bool:
        """Tell what belongs to a table of the tree: other tables' policies can hang on it too."""
        if entry.desc not in _OWN:
            return False
        if entry.desc not in ("CONSTRAINT", "CHECK CONSTRAINT", "DEFAULT", "POLICY"):
            return True
        tag = entry.tag or ""
        return any(
            entry.namespace == schema and tag.startswith(f"{table} ")
            for schema, table in self._tables
        )

    def _stage(self, entry: TocEntry) -> Stage:
        if entry.desc in ATTACHED:
            return Stage.GRANTS
        if entry.desc == FOREIGN_KEY:
            return Stage.FOREIGN_KEYS
        if entry.desc == "TABLE ATTACH":
            names = {key_of(self._by_id[one])[1:] for one in self._needs(entry)}
            return Stage.DEFINITIONS if names <= self._tables else Stage.JOINING
        if entry.section != Section.POST_DATA:
            return Stage.DEFINITIONS
        return Stage.INDEXES if entry.desc in ("INDEX", "CONSTRAINT") else Stage.REACTIONS

    def _is_there(self, entry: TocEntry) -> bool:
        key = key_of(entry)
        if entry.desc in _RELATIONS:
            return key[1:] in self._relations
        return key in self._there

    def _needs(self, entry: TocEntry) -> list[int]:
        numbers = (int(one) for one in entry.dependencies if one.isdecimal())
        return [one for one in numbers if one in self._by_id]


def _attaches(entry: TocEntry, table: TocEntry) -> bool:
    return entry.desc == "TABLE ATTACH" and key_of(entry)[1:] == key_of(table)[1:]


def settings_of(entry: TocEntry, tablespaces: Iterable[str]) -> str:
    """Return the statement that says where storage is made; '' for what has none."""
    if entry.desc not in _IN_TABLESPACES:
        return ""
    space = entry.tablespace or ""
    place = always_quoted(space) if space in set(tablespaces) else "''"
    return f"SET LOCAL default_tablespace = {place}"


def owner_statement(entry: TocEntry) -> str:
    """Return what gives an object its owner; '' for what has none."""
    if not entry.owner:
        return ""
    what = ""
    if entry.desc in _OWNED_BY_NAME:
        parts = (entry.namespace, entry.tag) if entry.namespace else (entry.tag,)
        what = f"{entry.desc} {'.'.join(always_quoted(part or '') for part in parts)}"
    elif entry.desc in _OWNED_BY_DROP and entry.drop:
        what = entry.drop.strip().removeprefix("DROP ").removesuffix(";")
    return f"ALTER {what} OWNER TO {always_quoted(entry.owner)}" if what else ""
