"""Which entries of an archive are restored, and what they need. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from pgkeep.errors import PgkeepError
from pgkeep.logical.encodings import readable
from pgkeep.logical.patterns import Chosen
from pgkeep.logical.restoring.keys import broken_keys, needs
from pgkeep.postgres.archive.entries import (
    ATTACHED,
    FOREIGN_KEY,
    LARGE_OBJECT_DATA,
    LARGE_OBJECTS,
    OF_THE_DATABASE,
    SETTINGS,
    STATISTICS,
    TABLE_DATA,
    TABLES,
    foreign_key,
    subject,
)
from pgkeep.postgres.archive.sql import ForeignKey, NotUnderstood, parse_identifier
from pgkeep.postgres.archive.toc import TocEntry

_RELATIONS: Final = frozenset({"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"})
# What belongs to a relation, and comes with it: it depends on the relation's entry.
_BELONGING: Final = frozenset(
    {
        "ACL", "CHECK CONSTRAINT", "COMMENT", "CONSTRAINT", "DEFAULT", "FK CONSTRAINT", "INDEX",
        "INDEX ATTACH", "MATERIALIZED VIEW DATA", "POLICY", "ROW SECURITY", "RULE",
        "SECURITY LABEL", "SEQUENCE", "SEQUENCE OWNED BY", "SEQUENCE SET", "STATISTICS",
        "TABLE ATTACH", "TABLE DATA", "TRIGGER", "PUBLICATION TABLE",
    }
)  # fmt: skip
# These join two things: they come only when both are there.
_JOINING: Final = frozenset(
    {FOREIGN_KEY, "TABLE ATTACH", "INDEX ATTACH", "PUBLICATION TABLE", "SEQUENCE OWNED BY"}
)
# These bear the name of what they belong to, or that and their own: 'orders orders_pkey'.
_BEARING: Final = frozenset(
    {
        "CHECK CONSTRAINT", "CONSTRAINT", "DEFAULT", "MATERIALIZED VIEW DATA", "POLICY",
        "ROW SECURITY", "RULE", "SEQUENCE SET", "TABLE DATA", "TRIGGER",
    }
)  # fmt: skip


class NothingChosen(PgkeepError):
    """A selection means nothing that the dump has."""

    code = "nothing-chosen"
    exit_status = 205

    dump: str
    database: str
    what: str

    def __str__(self) -> str:
        return f"cannot restore {self.what}: database {self.database} of {self.dump} has no such"

    @property
    def hint(self) -> str:
        return "patterns are pg_dump's: schema.table, double quotes around Mixed Case names"


@dataclass(frozen=True)
class EntryPlan:
    """What is restored of an archive, in its order."""

    definitions: tuple[TocEntry, ...]  # all but rows and large objects
    data: tuple[TocEntry, ...]  # rows of tables
    large_objects: tuple[TocEntry, ...]  # their content
    of_database: tuple[TocEntry, ...]  # settings, privileges and comment of the database itself
    whole: bool  # nothing was chosen; some may be left out
    left_out: tuple[str, ...] = ()  # for people: what was asked for and cannot come
    needed: tuple[str, ...] = ()  # for people: what came although nobody asked

    @property
    def foreign_keys(self) -> list[ForeignKey]:
        return [foreign_key(entry) for entry in self.definitions if entry.desc == FOREIGN_KEY]

    @property
    def tables(self) -> int:
        """How many tables are made, with rows or without."""
        return sum(entry.desc in TABLES for entry in self.definitions)

    @property
    def rows_without_tables(self) -> int:
        """How many tables' rows would come without the table: an extension may bring some."""
        if any(entry.desc == "EXTENSION" for entry in self.definitions):
            return 0
        made = {(entry.namespace, entry.tag) for entry in self.definitions if entry.desc in TABLES}
        return sum((entry.namespace, entry.tag) not in made for entry in self.data)

    @property
    def roles_matter(self) -> tuple[TocEntry, ...]:
        return (*self.definitions, *self.of_database)


def plan_entries(
    entries: Sequence[TocEntry],
    chosen: Chosen | None,
    *,
    schema_only: bool,
    privileges: bool,
    encoding: str,
) -> EntryPlan:
    """Choose entries; `chosen` None: all. Names for people are in Unicode."""
    wanted, left_out, needed = _all(entries), list[str](), list[str]()
    with_data = set(wanted)
    if chosen is not None:
        picker = _Picker(entries, chosen, encoding)
        wanted, with_data = picker.pick()
        left_out, needed = picker.left_out, picker.needed
    definitions, data, objects, of_database = [], [], [], []
    for entry in entries:
        if entry.dump_id not in wanted and entry.desc not in SETTINGS:
            continue
        if entry.desc in ("ACL", "DEFAULT ACL") and not privileges:
            continue
        if _is_of_database(entry):
            of_database.append(entry)
        elif entry.desc == TABLE_DATA:
            if not schema_only and entry.dump_id in with_data:
                data.append(entry)
        elif entry.desc == LARGE_OBJECT_DATA:
            if not schema_only:
                objects.append(entry)
        elif entry.desc != STATISTICS and not (schema_only and _is_value(entry)):
            definitions.append(entry)
    whole = chosen is None or chosen.only_excludes
    data, foreign = _without_foreign(entries, data, encoding)
    broken, lacking = broken_keys(definitions, data, encoding)
    return EntryPlan(
        tuple(entry for entry in definitions if entry.dump_id not in broken),
        tuple(data),
        tuple(objects),
        tuple(of_database) if whole else (),
        whole,
        (*left_out, *foreign, *lacking),
        tuple(needed),
    )


def _without_foreign(
    entries: Sequence[TocEntry], data: Sequence[TocEntry], encoding: str
) -> tuple[list[TocEntry], list[str]]:
    """Return rows but those of foreign tables: loading them would write them to their server."""
    far = {(e.namespace, e.tag) for e in entries if e.desc == "FOREIGN TABLE"}
    left_out = [entry for entry in data if (entry.namespace, entry.tag) in far]
    return [entry for entry in data if (entry.namespace, entry.tag) not in far], [
        f"rows of foreign table {readable(f'{entry.namespace}.{entry.tag}', encoding)}: they would "
        "be written to its server"
        for entry in left_out
    ]


def _all(entries: Iterable[TocEntry]) -> set[int]:
    return {entry.dump_id for entry in entries}


def _is_of_database(entry: TocEntry) -> bool:
    about = subject(entry)
    return entry.desc in OF_THE_DATABASE or (about is not None and about.kind == "DATABASE")


def _is_value(entry: TocEntry) -> bool:
    """Tell whether an entry is data although no rows: it is left out with them."""
    if entry.desc in ("SEQUENCE SET", "MATERIALIZED VIEW DATA") or entry.desc in LARGE_OBJECTS:
        return True
    about = subject(entry)
    return about is not None and about.kind.startswith("LARGE OBJECT")


@dataclass
class _Picker:
    """Chosen tables, what belongs to them, and what all of that needs."""

    entries: Sequence[TocEntry]
    chosen: Chosen
    encoding: str
    left_out: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)

    def pick(self) -> tuple[set[int], set[int]]:
        """Return the ids of all that comes, and of the data entries whose rows come."""
        by_id = {entry.dump_id: entry for entry in self.entries}
        belonging: dict[int, list[TocEntry]] = {}
        for entry in self.entries:
            if entry.desc in _BELONGING:
                for owner in _owners(entry, by_id):
                    belonging.setdefault(owner, []).append(entry)
        asked = {entry.dump_id for entry in self.entries if self._is_asked(entry, by_id)}
        if self.chosen.only_excludes:
            asked |= self._others(by_id)
        asked |= self._partitions(asked, by_id, belonging)
        found = self._closure(asked, by_id, belonging)
        found |= self._casts(found)
        rows = {
            entry.dump_id
            for entry in self.entries
            if entry.desc == TABLE_DATA
            and asked & {entry.dump_id, *needs(entry)}
            and self._has_rows(entry)
        }
        self.needed += [
            self._words(by_id[one])
            for one in sorted(found - asked)
            if by_id[one].desc in _RELATIONS and by_id[one].desc != "SEQUENCE"
        ]
        schemas = {by_id[one].namespace for one in found}
        for entry in self.entries:
            if entry.desc == "SCHEMA" and entry.tag in schemas:
                found.add(entry.dump_id)
                told = belonging.get(entry.dump_id, ())
                found |= {said.dump_id for said in told if said.desc in ATTACHED}
        return found, rows

    def _is_asked(self, entry: TocEntry, by_id: Mapping[int, TocEntry]) -> bool:
        chosen = self.chosen
        if entry.desc == "SEQUENCE" and not chosen.tables:
            # That of an identity column is a part of its table, and not there without it.
            owners = [by_id[one] for one in needs(entry) if one in by_id]
            if any(owner.desc == "TABLE" for owner in owners):
                return False
        if entry.desc in _RELATIONS:
            return chosen.has(self._text(entry.namespace), self._text(entry.tag))
        if not chosen.schemas or chosen.tables or entry.desc in _BELONGING:
            return False
        # A chosen schema brings all that is in it: types, functions, operators.
        name = entry.tag if entry.desc == "SCHEMA" else entry.namespace
        return bool(name) and any(p.matches("", self._text(name)) for p in chosen.schemas)

    def _others(self, by_id: Mapping[int, TocEntry]) -> set[int]:
        """Return all that is no relation and no part of one.

        Some entries speak of things that the archive does not make: of the schema public, or of
        an extension's tables.
        """
        return {
            entry.dump_id
            for entry in self.entries
            if entry.desc not in _RELATIONS
            and (entry.desc not in _BELONGING or not any(n in by_id for n in needs(entry)))
        }

    def _has_rows(self, entry: TocEntry) -> bool:
        # Not by what is chosen: a partition comes with its table, whatever it is called.
        return not self.chosen.is_without_data(self._text(entry.namespace), self._text(entry.tag))

    @cached_property
    def _excluded(self) -> set[int]:
        out = self.chosen.is_excluded
        return {
            entry.dump_id
            for entry in self.entries
            if entry.desc in TABLES and out(self._text(entry.namespace), self._text(entry.tag))
        }

    def _partitions(
        self,
        asked: set[int],
        by_id: Mapping[int, TocEntry],
        belonging: Mapping[int, Sequence[TocEntry]],
    ) -> set[int]:
        """Return the partitions of tables that are asked for: their rows are the table's."""
        found, todo = set[int](), list(asked)
        while todo:
            for entry in belonging.get(todo.pop(), ()):
                if entry.desc != "TABLE ATTACH":
                    continue
                ends = [one for one in needs(entry) if one in by_id]
                # Parent first: the entry bears the partition's name.
                child = next((one for one in ends if by_id[one].tag == entry.tag), None)
                if child is not None and child not in asked | found | self._excluded:
                    found.add(child)
                    todo.append(child)
        return found

    def _closure(
        self,
        asked: set[int],
        by_id: Mapping[int, TocEntry],
        belonging: Mapping[int, Sequence[TocEntry]],
    ) -> set[int]:
        found, todo = set(asked), list(asked)
        joining: dict[int, TocEntry] = {}
        while todo:
            one = todo.pop()
            more = [
                needed
                for needed in needs(by_id[one])
                if needed in by_id and by_id[needed].desc not in _JOINING
            ]
            for entry in belonging.get(one, ()):
                if entry.desc in _JOINING:
                    joining[entry.dump_id] = entry
                elif entry.desc != TABLE_DATA or one in asked:
                    more.append(entry.dump_id)
            new = [other for other in more if other not in found]
            found.update(new)
            todo += new
        rows = {(by_id[one].namespace or "", by_id[one].tag or "") for one in asked}
        return found | self._joined((joining, rows), found, by_id, belonging)

    def _joined(
        self,
        joined: tuple[Mapping[int, TocEntry], set[tuple[str, str]]],
        found: set[int],
        by_id: Mapping[int, TocEntry],
        belonging: Mapping[int, Sequence[TocEntry]],
    ) -> set[int]:
        """Return what joins relations of which both come; say which foreign keys don't."""
        kept = set[int]()
        joining, rows = joined
        there = {(by_id[one].namespace, by_id[one].tag) for one in found}
        for one, entry in joining.items():
            ends = [needed for needed in needs(entry) if needed in by_id]
            holds = all(end in found for end in ends)
            if entry.desc == FOREIGN_KEY:
                holds = tuple(foreign_key(entry).table) in there
                holds = holds and self._has_referenced_rows(entry, rows)
            if entry.desc == "SEQUENCE OWNED BY":  # it names its table, and does not depend on it
                holds = holds and _owner(entry) in there
            if holds:
                kept.add(one)
                about = belonging.get(one, ())
                kept |= {other.dump_id for other in about if other.desc in ATTACHED}
        return kept

    def _has_referenced_rows(self, entry: TocEntry, rows: set[tuple[str, str]]) -> bool:
        """Tell whether a key will hold; say of a chosen table's that it is left out.

        Tables that only come along have no rows. Keys of other tables nobody expects.
        """
        key = foreign_key(entry)
        if tuple(key.referenced) in rows:
            return True
        if tuple(key.table) in rows:
            there = f"table {self._text(key.referenced.schema)}.{self._text(key.referenced.name)}"
            self.left_out.append(f"foreign key {self._text(entry.tag)}: {there} is not chosen")
        return False

    def _casts(self, found: set[int]) -> set[int]:
        """Return the casts between types that come: views need them, and no dependency says so."""
        return {
            entry.dump_id
            for entry in self.entries
            if entry.desc == "CAST" and needs(entry) and found.issuperset(needs(entry))
        }

    def _words(self, entry: TocEntry) -> str:
        names = filter(None, (self._text(entry.namespace), self._text(entry.tag)))
        return f"{entry.desc.lower()} {'.'.join(names)}"

    def _text(self, name: str | None) -> str:
        return readable(name or "", self.encoding)


def _owners(entry: TocEntry, by_id: Mapping[int, TocEntry]) -> list[int]:
    """Return what an entry comes with, of all that it needs.

    An index needs its table and the extension of its operators: the extension must not bring it.
    """
    found = [needed for needed in needs(entry) if needed in by_id]
    if entry.desc in ATTACHED or entry.desc in _JOINING:
        return found
    relations = [one for one in found if by_id[one].desc in _RELATIONS]
    if entry.desc not in _BEARING:
        return relations
    tag = f"{entry.tag or ''} "
    named = [one for one in found if tag.startswith(f"{by_id[one].tag or ''} ")]
    return named or relations  # some tags of old versions are shorter


def _owner(entry: TocEntry) -> tuple[str, str]:
    """Return schema and name of the table that a SEQUENCE OWNED BY names."""
    _, _, text = (entry.definition or "").partition(" OWNED BY ")
    names, end = [entry.namespace or ""], -1
    try:
        while end < 0 or text[end : end + 1] == ".":
            name, end = parse_identifier(text, end + 1)
            names.append(name)
    except NotUnderstood:
        return "", ""
    return names[-3] if len(names) > 2 else "", names[-2]
