"""Takes roles, memberships and tablespaces: what pg_dumpall --globals-only wrote."""

import re
from typing import Final

from pgkeep.logical.create.checks import check_globals
from pgkeep.logical.importing.opening import Kind, opened
from pgkeep.logical.importing.unpacking import CannotImport
from pgkeep.postgres.archive.sql import NotUnderstood, parse_identifier
from pgkeep.repository.manifest.dump_facts import Globals
from pgkeep.units import MIB

LIMIT: Final = 64 * MIB  # a hundred thousand roles have 20
_MADE: Final = re.compile(r"^CREATE (ROLE|TABLESPACE) (.*)$", re.MULTILINE)
_PASSWORD: Final = re.compile(r"^ALTER ROLE .* PASSWORD '", re.MULTILINE)
_ROWS: Final = re.compile(rb"^(COPY .* FROM stdin;|\\connect )", re.MULTILINE)


def read_globals(path: str) -> bytes:
    """Return a script of roles and tablespaces. Raise CannotImport, IncompleteDump."""
    with opened(path) as found:
        if found.kind is not Kind.SCRIPT or found.source is None:
            raise CannotImport(path, f"it is a {found.kind}, not a script of roles")
        content = bytearray()
        for piece in found.source.pieces():
            content += piece
            if len(content) > LIMIT:
                raise CannotImport(path, "it is too large for a script of roles")
    check_globals(bytes(content))
    if _ROWS.search(content):
        why = "it holds more than roles and tablespaces"
        raise CannotImport(path, why, "import it by itself, or make one: pg_dumpall --globals-only")
    return bytes(content)


def globals_of(content: bytes) -> Globals:
    """Return what goes on record of a script of roles and tablespaces."""
    text = content.decode(errors="surrogateescape")
    made: dict[str, list[str]] = {"ROLE": [], "TABLESPACE": []}
    for kind, words in _MADE.findall(text):
        try:
            made[kind].append(parse_identifier(words)[0])
        except NotUnderstood:
            continue  # it is on record for people alone
    return Globals(
        roles=tuple(made["ROLE"]),
        tablespaces=tuple(made["TABLESPACE"]),
        passwords=_PASSWORD.search(text) is not None,
    )
