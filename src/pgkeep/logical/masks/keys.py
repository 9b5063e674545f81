"""Which columns of a dump must hold different values: from what pg_dump writes last. Pure.

Keys of several columns, or of some rows only, may well hold the same value in one of them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from pgkeep.logical.masks.plan import Key
from pgkeep.postgres.archive.sql import parse_identifier
from pgkeep.postgres.archive.toc import TocEntry

_NAME: Final = r'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)'
_TABLE: Final = rf"(?:ONLY )?({_NAME})\.({_NAME})"
# Source: pg_dump.c, dumpConstraint; ruleutils.c, pg_get_indexdef_worker.
_CONSTRAINT: Final = re.compile(
    rf"ALTER TABLE {_TABLE}\s+ADD CONSTRAINT {_NAME} "
    rf"(?:PRIMARY KEY|UNIQUE(?: NULLS NOT DISTINCT)?) \(({_NAME})\)"
)
_INDEX: Final = re.compile(
    rf"CREATE UNIQUE INDEX {_NAME} ON {_TABLE} USING (?:{_NAME}) "
    rf"\(({_NAME})(?: [A-Z ]+)?\)(?!.* WHERE )",
    re.DOTALL,
)


def unique_columns(entries: Iterable[TocEntry]) -> Iterator[Key]:
    """Yield columns that are alone in a primary key, a unique constraint or a unique index."""
    for entry in entries:
        if entry.desc in {"CONSTRAINT", "INDEX"}:
            pattern = _CONSTRAINT if entry.desc == "CONSTRAINT" else _INDEX
            match = pattern.match((entry.definition or "").lstrip())
            if match is not None:
                schema, table, column = (parse_identifier(part)[0] for part in match.groups())
                yield (schema, table, column)
