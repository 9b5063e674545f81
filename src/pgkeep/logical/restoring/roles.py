"""Roles that an archive speaks of, and the same archive with other names for them. Pure.

Privileges are statements of their own; names are found among their words, never within texts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from pgkeep.postgres.archive.sql import NotUnderstood, always_quoted, parse_identifier
from pgkeep.postgres.archive.toc import TocEntry

# Words of SQL: quoted names, strings, plain words, single signs.
_WORD: Final = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|[^\W\d]\w*|\s+|.', re.DOTALL)
_SCRIPT_WORD: Final = re.compile(
    rf"(?P<aside>^(?:--|\\)[^\n]*$)|{_WORD.pattern}", re.DOTALL | re.MULTILINE
)
_BEFORE_A_ROLE: Final = frozenset({"TO", "FROM", "AUTHORIZATION", "USER", "ROLE"})
_NO_ROLES: Final = frozenset({"PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER", "DEFAULT"})
_PRIVILEGES: Final = frozenset({"ACL", "DEFAULT ACL"})


class _Piece(NamedTuple):
    text: str
    role: str = ""  # the role that this word names


def roles_of(entries: Iterable[TocEntry], *, owners: bool) -> set[str]:
    """Return the roles that own something, are granted something, or are named by a policy."""
    found = set[str]()
    for entry in entries:
        if owners and entry.owner:
            found.add(entry.owner)
        found.update(piece.role for piece in _pieces(entry) if piece.role)
    # A role cannot be called public, and pg_dump quotes the word where it means everybody.
    return {role for role in found if not role.startswith("pg_") and role != "public"}


def renamed(entry: TocEntry, roles: Mapping[str, str]) -> TocEntry:
    """Return an entry with other roles in the places of some."""
    owner = roles.get(entry.owner or "", entry.owner)
    pieces = list(_pieces(entry))
    if not any(piece.role in roles for piece in pieces):
        return entry._replace(owner=owner)
    text = "".join(
        always_quoted(roles[piece.role]) if piece.role in roles else piece.text for piece in pieces
    )
    return entry._replace(owner=owner, definition=text)


def _pieces(entry: TocEntry) -> Iterator[_Piece]:
    text = entry.definition or ""
    if entry.desc in _PRIVILEGES:
        return _with_roles(text, lambda _: True)
    if entry.desc == "POLICY":
        return _with_roles(text, _before_conditions())
    if entry.desc == "USER MAPPING":
        return _with_roles(text, _first_words(6), frozenset({"FOR"}))
    return iter(())


def _with_roles(
    text: str, goes_on: Callable[[str], bool], before: frozenset[str] = _BEFORE_A_ROLE
) -> Iterator[_Piece]:
    """Yield the words of a text, telling those that name roles."""
    expected = listed = False
    looking = True
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isspace():
            yield _Piece(word)
            continue
        looking = looking and goes_on(word)
        names = word[0] == '"' or word[0].isalpha() or word[0] == "_"
        role = _role(word) if looking and expected and names else ""
        yield _Piece(word, role)
        expected = word in before or (listed and word == ",")
        listed = bool(role)


def _role(word: str) -> str:
    if word in _NO_ROLES or word in _BEFORE_A_ROLE:
        return ""
    try:
        return parse_identifier(word)[0]
    except NotUnderstood:
        return ""


def _before_conditions() -> Callable[[str], bool]:
    """Return a test that fails from the conditions of a policy on."""
    ended = False

    def goes_on(word: str) -> bool:
        nonlocal ended
        ended = ended or word in ("USING", "WITH")
        return not ended

    return goes_on


def _first_words(count: int) -> Callable[[str], bool]:
    seen = 0

    def goes_on(word: str) -> bool:
        nonlocal seen
        seen += not word.isspace()
        return seen <= count

    return goes_on


class GlobalStatement(NamedTuple):
    """A statement of pg_dumpall that makes or describes a role."""

    role: str
    sql: str
    other: str = ""  # of a membership: the member


def role_statements(globals_sql: str, wanted: Iterable[str]) -> list[str]:
    """Return the statements of globals.sql that make some roles, and their memberships.

    Memberships come last, and only among roles of which the member is wanted.
    """
    names = set(wanted)
    makes, grants = list[str](), list[str]()
    for found in _global_statements(globals_sql):
        if found.other:
            if found.other in names:
                grants.append(found.sql)
        elif found.role in names:
            makes.append(found.sql)
    return [*makes, *grants]


def _global_statements(text: str) -> Iterator[GlobalStatement]:
    for words in _split(text):
        plain = [word for word in words if not word.isspace()]
        statement = "".join(words).strip()
        match plain:
            case ["CREATE" | "ALTER", "ROLE", role, *rest] if "DATABASE" not in rest[:2]:
                yield GlobalStatement(_role(role), statement)
            case ["COMMENT", "ON", "ROLE", role, *_]:
                yield GlobalStatement(_role(role), statement)
            case ["GRANT", *_, "TO", role, ";"] if "PARAMETER" in plain:
                yield GlobalStatement(_role(role), statement)
            case ["GRANT", role, "TO", member, *rest]:
                # Who granted it may not be known there.
                end = statement.rfind(" GRANTED BY ") if "GRANTED" in rest else -1
                bare = f"{statement[:end]};" if end > 0 else statement
                yield GlobalStatement(_role(role), bare, _role(member))


def _split(text: str) -> Iterator[list[str]]:
    """Yield the words of each statement; comments and psql's own commands are none."""
    held: list[str] = []
    for match in _SCRIPT_WORD.finditer(text):
        word = match[0]
        if match["aside"]:
            continue
        held.append(word)
        if word == ";":
            yield held
            held = []
