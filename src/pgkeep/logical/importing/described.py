"""What an archive tells of its database as a whole, read while its entries pass. Pure.

Source: pg_dump.c, dumpDatabase: entries ENCODING, DATABASE and DATABASE PROPERTIES.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from pgkeep.logical.encodings import readable
from pgkeep.model.dump import EVERYTHING, Selection
from pgkeep.postgres.archive.entries import TABLE_DATA, TABLES, encoding_of
from pgkeep.postgres.archive.sql import quote_identifier
from pgkeep.postgres.archive.toc import TocEntry
from pgkeep.repository.manifest.facts import Extension

_VALUE: Final = r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|[^\s;]+)"""
_CLAUSE: Final = re.compile(rf"\b([A-Z_]+) = {_VALUE}")
_SETTING: Final = re.compile(
    r"""^ALTER DATABASE (?:"(?:[^"]|"")+"|\S+) SET ("(?:[^"]|"")+"|\S+) TO (.*);$""", re.MULTILINE
)
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
# Lists of names, as dumputils.c has them (variable_is_guc_list_quote).
_LISTS: Final = frozenset(
    {
        "local_preload_libraries", "search_path", "session_preload_libraries",
        "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories",
    }
)  # fmt: skip


@dataclass(slots=True)
class Described:
    """One database, as far as its archive says."""

    encoding: str = ""
    owner: str = ""
    clauses: dict[str, str] = field(default_factory=dict)  # of CREATE DATABASE
    settings: tuple[str, ...] = ()
    extensions: list[str] = field(default_factory=list)
    tables: int = 0
    data: int = 0  # tables whose rows are in the archive
    inserts: int = 0  # of them, those whose rows are INSERT statements: pg_dump --inserts

    def watch(self, entries: Iterable[TocEntry]) -> Iterator[TocEntry]:
        """Pass entries through."""
        for entry in entries:
            self._see(entry)
            yield entry

    @property
    def collate(self) -> str:
        return self.clauses.get("LC_COLLATE") or self.clauses.get("LOCALE", "")

    @property
    def ctype(self) -> str:
        return self.clauses.get("LC_CTYPE") or self.clauses.get("LOCALE", "")

    @property
    def provider(self) -> str:
        return self.clauses.get("LOCALE_PROVIDER", "")

    @property
    def locale(self) -> str:
        """Return the locale of providers other than libc."""
        name = {"icu": "ICU_LOCALE", "builtin": "BUILTIN_LOCALE"}.get(self.provider, "")
        return self.clauses.get(name, "")

    @property
    def selection(self) -> Selection:
        """Return what was left out, where that can be seen: whether tables were is never told."""
        if self.tables and not self.data:
            return Selection(schema_only=True)
        return Selection(data_only=True) if self.data and not self.tables else EVERYTHING

    def extension_facts(self, database: str) -> tuple[Extension, ...]:
        """Return the extensions; archives do not tell their versions."""
        return tuple(Extension(database, name, "") for name in self.extensions)

    def _see(self, entry: TocEntry) -> None:
        self.tables += entry.desc in TABLES
        self.data += entry.desc == TABLE_DATA
        self.inserts += entry.desc == TABLE_DATA and not entry.copy_statement
        if entry.desc == "ENCODING":
            self.encoding = encoding_of([entry])
        elif entry.desc == "EXTENSION":
            self.extensions.append(self._text(entry.tag))
        elif entry.desc == "DATABASE":
            self.owner = self._text(entry.owner)
            text = self._text(entry.definition)
            self.clauses = {name: _plain(value) for name, value in _CLAUSE.findall(text)}
        elif entry.desc == "DATABASE PROPERTIES":
            text = self._text(entry.definition)
            found = ((_plain(name), value) for name, value in _SETTING.findall(text))
            self.settings = tuple(f"{name}={_value(name, value)}" for name, value in found)

    def _text(self, text: str | None) -> str:
        return readable(text or "", self.encoding)


def created_at(created: tuple[int, ...], zone: tzinfo) -> datetime | None:
    """Return when an archive was made, in UTC; None if its header says nothing sensible.

    The header has the local time of where pg_dump ran, which is taken for ours: it does not tell
    its zone, only whether it was summer time.
    """
    second, minute, hour, day, month, year, summer = created
    try:
        moment = datetime(
            1900 + year,
            1 + month,
            day,
            hour,
            minute,
            min(second, 59),
            tzinfo=zone,
            fold=summer == 0,
        )
    except (ValueError, OverflowError):
        return None
    moment = moment.astimezone(UTC)
    return moment if moment > datetime(1996, 1, 1, tzinfo=UTC) else None


def not_later(moment: datetime | None, now: datetime) -> datetime:
    """Return a moment that is told by another clock; one in the future cannot be right."""
    if moment is None or moment > now + timedelta(days=1):
        return now
    return min(moment, now)


def _plain(text: str) -> str:
    if text[:2] == "E'":
        text = text[1:].replace("\\\\", "\\")
    quote = text[:1]
    return text[1:-1].replace(quote * 2, quote) if quote in {"'", '"'} else text


def _value(name: str, text: str) -> str:
    """Return a setting's value as SHOW tells it: pg_dump writes lists of names as texts."""
    if name.lower() not in _LISTS:
        return _plain(text)
    return ", ".join(quote_identifier(_plain(part)) for part in _TEXT.findall(text))
