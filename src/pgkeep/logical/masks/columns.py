"""A column that a rule masks, and the SQL that makes its new values. Pure.

Hashes are keyed with a salt that only this restore knows: without it nobody can try out what gives
a value. They depend on nothing else, so that what was equal stays equal, in whatever table. The
salt reaches the server as a row of a temporary table: a statement with it might be logged.
"""

from typing import Final, NamedTuple

from pgkeep.logical.load.tables import literal
from pgkeep.logical.masks.rules import Kind, MaskRule
from pgkeep.postgres.archive.sql import always_quoted

SALT: Final = "pg_temp.pgkeep_salt"
_SALT: Final = f"(SELECT s.salt FROM {SALT} s)"  # noqa: S608  # a constant
_EMAIL_DOMAIN: Final = "@example.invalid"  # RFC 2606
_EMAIL_DIGITS: Final = 16
_LEAST_DIGITS: Final = 8
_TEXT_DIGITS: Final = 64
# Bits of the halves that a number is cut into: a number stays below its type's highest, and those
# below 2^31 are the same in int4 and int8, so that joins between the two hold.
_SMALL, _LARGE = (8, 7), (16, 15)
_ROUNDS: Final = 4
_NUMBERS: Final = {"int2": _SMALL, "int4": _LARGE, "int8": _LARGE}
_LENGTHS: Final = {"varchar", "bpchar"}
# A name that no column has, so that it hides none.
_DIGITS: Final = "pgkeep_digits"
# Looks like one of chance, version 4 (RFC 9562).
_UUID: Final = (
    f"(pg_catalog.left({_DIGITS}, 12) || '4' || pg_catalog.substr({_DIGITS}, 14, 3) || '8' || "
    f"pg_catalog.substr({_DIGITS}, 18, 15))::uuid"
)
# Moves every digit of a hash on, should it be what it hides: of a char(1), one in 16 is.
_OTHER: Final = (
    f'CASE WHEN {_DIGITS} = {{}} COLLATE "C" THEN '
    f"pg_catalog.translate({_DIGITS}, '0123456789abcdef', '123456789abcdef0') ELSE {_DIGITS} END"
)


class Column(NamedTuple):
    """A column of the restored schema. Names are as in the archive."""

    schema: str
    table: str
    name: str
    type: str  # as SQL has it: 'character varying(20)', 'shop.email'
    base: str  # pg_type.typname of the type that a domain rests on, or of its own
    category: str  # pg_type.typcategory of that
    length: int  # characters that fit; 0 no limit
    not_null: bool  # the column's own, or its domain's
    generated: bool
    key_of: str  # the partitioned table whose rows it distributes; '' none

    @property
    def sql(self) -> str:
        return always_quoted(self.name)

    @property
    def hashes_as(self) -> str:
        """Return a word that is equal for columns whose equal values have equal hashes."""
        if self.category == "S":
            return f"text {self.length}"
        return "int" if self.base in {"int4", "int8"} else self.base


def refusal(rule: MaskRule, column: Column) -> str:
    """Return why a rule cannot be applied to a column that it names; '' if it can."""
    if column.generated:
        return "it is a generated column: mask those that it is computed from"
    if column.key_of:
        return (
            f"it decides to which partition of {column.key_of} a row belongs; rows would belong "
            "elsewhere"
        )
    if rule.kind is Kind.NULL and column.not_null:
        return 'it is NOT NULL: use "hash" or a text'
    if rule.kind is Kind.HASH and not _can_hash(column):
        return f'{column.type} has no hash: use {{sql = "..."}}'
    if rule.kind is Kind.EMAIL:
        if column.category != "S":
            return f"{column.type} holds no e-mail addresses"
        if column.length and column.length < _LEAST_DIGITS + len(_EMAIL_DOMAIN):
            return f"no address at {_EMAIL_DOMAIN[1:]} fits into {column.type}"
    if rule.kind is Kind.LITERAL and column.length and len(rule.text) > column.length:
        return f"'{rule.text}' does not fit into {column.type}"
    return ""


def expression(rule: MaskRule, column: Column, text: str) -> str:
    """Return the new value as SQL; `text` is the rule's, in the archive's encoding.

    What is NULL stays NULL, unless an expression decides otherwise.
    """
    value = column.sql
    if rule.kind is Kind.NULL:
        return f"CAST(NULL AS {column.type})"
    if rule.kind is Kind.SQL:
        # A line end, because it may end with a comment.
        return f"CAST(({text}\n) AS {column.type})"
    new = literal(text)
    if rule.kind is not Kind.LITERAL:
        new = _email(column) if rule.kind is Kind.EMAIL else _hash(column)
    return f"CASE WHEN {value} IS NOT NULL THEN CAST({new} AS {column.type}) END"


def always_differs(rule: MaskRule, column: Column) -> bool:
    """Tell whether a masked value can never be what it hides. A number may be, by chance."""
    return rule.kind in {Kind.HASH, Kind.EMAIL} and column.base not in _NUMBERS


def _can_hash(column: Column) -> bool:
    return column.category == "S" or column.base in {*_NUMBERS, "uuid", "bytea"}


def _hash(column: Column) -> str:
    if column.base in _NUMBERS:
        return _number(column)
    if column.base == "uuid":
        return _once(_hex(column), _UUID)
    if column.base == "bytea":
        return f"pg_catalog.sha256({_SALT} || CAST({column.sql} AS bytea))"
    digits = min(column.length or _TEXT_DIGITS, _TEXT_DIGITS)
    return _once(f"pg_catalog.left({_hex(column)}, {digits})", _OTHER.format(_text(column)))


def _once(value: str, used: str) -> str:
    """Return an expression that uses a value, as `pgkeep_digits`, more than once."""
    return f"({_from(used, f'SELECT {value} AS {_DIGITS}')})"


def _email(column: Column) -> str:
    digits = _EMAIL_DIGITS
    if column.length:
        digits = min(digits, column.length - len(_EMAIL_DOMAIN))
    return f"pg_catalog.left({_hex(column)}, {digits}) || '{_EMAIL_DOMAIN}'"


def _hex(column: Column) -> str:
    # To SQL_ASCII means: the bytes as they are.
    content = f"pg_catalog.convert_to({_text(column)}, 'SQL_ASCII')"
    return f"pg_catalog.encode(pg_catalog.sha256({_SALT} || {content}), 'hex')"


def _text(column: Column) -> str:
    text = f"CAST({column.sql} AS text)"
    # What is equal to citext must stay equal.
    return f"pg_catalog.lower({text})" if column.base == "citext" else text


def _number(column: Column) -> str:
    """Return another number that is not negative, for each number another one.

    A hash cut to 31 bits would give a million rows some hundred keys twice. So the number is
    encrypted: a Feistel network in halves, whose rounds are keyed hashes. Negative ones share the
    results of the others, and what int8 has beyond 2^31 gets a hash of 62 bits up there.
    """
    high, low = _NUMBERS[column.base]
    value = f"CAST({column.sql} AS int8)"
    positive = f"CASE WHEN {value} < 0 THEN -1 - {value} ELSE {value} END"
    small = (1 << (high + low)) - 1
    halves = f"(v >> {low})::int4 AS h, (v & {(1 << low) - 1})::int4 AS l"
    steps = _from(halves, f"SELECT {positive} & {small} AS v")
    for turn in range(_ROUNDS):
        if turn % 2:
            mixed = f"h, l # {_digits(low, 'pg_catalog.int4send(h)', turn)} AS l"
        else:
            mixed = f"h # {_digits(high, 'pg_catalog.int4send(l)', turn)} AS h, l"
        steps = _from(mixed, steps)
    new = f"({_from(f'h::int8 << {low} | l', steps)})"
    if column.base != "int8":
        return new
    large = _digits(62, f"pg_catalog.int8send({column.sql})", _ROUNDS)
    return f"CASE WHEN {positive} > {small} THEN {1 << 62} | {large} ELSE {new} END"


def _from(columns: str, query: str) -> str:
    # OFFSET 0: computed once, before what uses it.
    return f"SELECT {columns} FROM ({query} OFFSET 0) x"  # noqa: S608  # our own SQL


def _digits(bits: int, content: str, turn: int) -> str:
    """Return so many bits of a keyed hash, as a number."""
    key = f"{_SALT} || '\\x{turn:02x}'::bytea"
    digits = f"pg_catalog.encode(pg_catalog.sha256({key} || {content}), 'hex')"
    kind, size = ("int4", 32) if bits <= 31 else ("int8", 64)
    number = f"('x' || pg_catalog.left({digits}, {size // 4}))::bit({size})::{kind}"
    return f"({number} & {(1 << bits) - 1})"
