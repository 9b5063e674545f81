"""The files that PostgreSQL archives, by their names. Light: WAL commands read it."""

from pgkeep.light_typing import Final

# In pg_wal: what was given up unarchived, until a backup was made after it.
LOST: Final = "pgkeep-lost"
HEX_DIGITS: Final = frozenset("0123456789ABCDEF")


def kind_of(name: str) -> str:
    """Return 'segment', 'partial', 'history' or 'backup', or '' for what PostgreSQL never archives.

    Source: pgarch.h (VALID_XFN_CHARS, MAX_XFN_CHARS), xlog_internal.h (IsXLogFileName and others).
    """
    first, *more = name.split(".")
    if not HEX_DIGITS.issuperset(first):
        return ""
    if len(first) == 8:
        return "history" if more == ["history"] else ""
    if len(first) != 24:
        return ""
    if not more:
        return "segment"
    if more == ["partial"]:
        return "partial"
    offset = more[0]
    whole = len(more) == 2 and len(offset) == 8 and HEX_DIGITS.issuperset(offset)
    return "backup" if whole and more[1] == "backup" else ""
