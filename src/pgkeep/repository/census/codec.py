"""One census as one object: facts, then blocks of relations. On disk: docs/formats/census.md.

The facts name the blocks by their ids, so that nothing can be exchanged behind them, and tell how
many relations each database has: whoever wants one database reads its blocks alone.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta, Struct, ValidationError, convert, to_builtins

from pgkeep.model.census import Census, CensusId, Database, Relation
from pgkeep.model.lsn import BadLsn, Lsn
from pgkeep.repository.census.rows import (
    ROWS,
    TEXT,
    BadRows,
    decode_rows,
    encode_rows,
    text_size,
)
from pgkeep.repository.manifest.facts import BadFacts, dump_json, load_json
from pgkeep.repository.seal import (
    CENSUS_FACTS,
    CENSUS_ROWS,
    HEADER_SIZE,
    PLAIN_LIMIT,
    TAG_SIZE,
    Damaged,
    FormatTooNew,
    Plain,
    SealedBlock,
    Sealer,
    id_of,
    read_header,
)

FORMAT: Final = 1
_MOST: Final = 1 << 31  # relations and databases: oids have 32 bits

Oid = Annotated[int, Meta(ge=0, lt=1 << 32)]
Count = Annotated[int, Meta(ge=0, lt=_MOST)]
Moment = Annotated[datetime, Meta(tz=True)]


class BadCensus(Damaged):
    """A census that is damaged, or was not written by pgkeep."""

    code = "census-damaged"

    @property
    def hint(self) -> str:
        return (
            "no backup needs it, and others tell most of the names (pgkeep census list); bring it "
            "back from another copy of the repository: pgkeep verify --repair --from ADDRESS"
        )


class CountedDatabase(Struct, frozen=True):
    """A database, and how many of the rows are its relations: they follow in this order."""

    oid: Oid
    name: str
    relations: Count


class Unread(Struct, frozen=True):
    """A database that could not be read."""

    name: str
    why: str


class Block(Struct, frozen=True):
    """A sealed block of relations."""

    id: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    size: Annotated[int, Meta(ge=HEADER_SIZE, le=HEADER_SIZE + PLAIN_LIMIT + TAG_SIZE)]  # sealed
    rows: Annotated[int, Meta(ge=1, le=ROWS)]


class CensusFacts(Struct, frozen=True, kw_only=True):
    """What a census is, without its relations."""

    format: int = FORMAT
    id: str
    cluster: str
    taken_at: Moment
    lsn: str
    timeline: Annotated[int, Meta(ge=1, lt=1 << 32)]
    generation: str
    databases: tuple[CountedDatabase, ...] = ()
    unread: tuple[Unread, ...] = ()
    blocks: tuple[Block, ...] = ()

    @property
    def position(self) -> Lsn:
        return Lsn.parse(self.lsn)

    @property
    def relations(self) -> int:
        return sum(database.relations for database in self.databases)


class Opened(NamedTuple):
    """Facts that were read from an object's beginning, and where its blocks begin."""

    facts: CensusFacts
    start: int

    @property
    def size(self) -> int:
        """Bytes of the whole object."""
        return self.start + sum(block.size for block in self.facts.blocks)


class Encoder:
    """Seals relations as they come: of a million, some 30 MiB are in memory and not 400."""

    def __init__(self, sealer: Sealer, block_rows: int = ROWS) -> None:
        self._sealer = sealer
        self._most = block_rows
        self._pending: list[Relation] = []
        self._text = 0
        self._sealed: list[SealedBlock] = []
        self._rows: list[int] = []
        self._databases: list[CountedDatabase] = []

    def add(self, oid: int, name: str, relations: Iterable[Relation]) -> CountedDatabase:
        """Add a whole database; what `relations` raises is raised, and nothing of it added."""
        kept, text, blocks = list(self._pending), self._text, len(self._sealed)
        count = 0
        try:
            for relation in relations:
                self._add(relation)
                count += 1
        except BaseException:
            self._pending, self._text = kept, text
            del self._sealed[blocks:], self._rows[blocks:]
            raise
        self._databases.append(CountedDatabase(oid, name, count))
        return self._databases[-1]

    def finish(self, **facts: Any) -> tuple[CensusFacts, list[bytes]]:
        """Return the object in parts; `facts` are those of CensusFacts that are not counted here.

        Raise BadCensus when there are too many databases for one object.
        """
        if self._pending:
            self._seal()
        blocks = tuple(
            Block(block.id.hex(), len(block.data), rows)
            for block, rows in zip(self._sealed, self._rows, strict=True)
        )
        found = CensusFacts(**facts, databases=tuple(self._databases), blocks=blocks)
        content = dump_json(to_builtins(found))
        if len(content) > PLAIN_LIMIT:
            raise BadCensus(found.id, "its facts are over 16 MiB")
        head = self._sealer.seal(CENSUS_FACTS, content).data
        # What cannot be read back must not be stored; of the blocks that was seen one by one.
        if read_facts(head, self._sealer, found.id).facts != found:
            raise BadCensus(found.id, "its facts would not be read as they were written")
        return found, [head, *(block.data for block in self._sealed)]

    def _add(self, relation: Relation) -> None:
        self._pending.append(relation)
        self._text += text_size(relation)
        if len(self._pending) == self._most or self._text >= TEXT:
            self._seal()

    def _seal(self) -> None:
        try:
            content = encode_rows(self._pending)
        except BadRows as error:
            raise BadCensus("a new census", f"its relations {error}") from error
        block = self._sealer.seal(CENSUS_ROWS, content)
        if _read_rows(block.data, self._sealer, "a new census") != self._pending:
            raise BadCensus("a new census", "its relations would not be read as they were written")
        self._sealed.append(block)
        self._rows.append(len(self._pending))
        self._pending, self._text = [], 0


def facts_length(beginning: Plain, where: str) -> int:
    """Return how long the facts are, from the first HEADER_SIZE bytes of an object."""
    try:
        return read_header(beginning, where).length
    except Damaged as error:
        raise BadCensus(error.where, error.why) from error


def read_facts(head: Plain, sealer: Sealer, where: str) -> Opened:
    """Read facts from an object's beginning, at least facts_length() bytes of it.

    Raise BadCensus, WrongKey or FormatTooNew.
    """
    length = facts_length(head, where)
    try:
        record = load_json(sealer.unseal(CENSUS_FACTS, memoryview(head)[:length], where))
        version = record.get("format") if isinstance(record, dict) else None
        if isinstance(version, int) and version > FORMAT:  # before anything else is judged
            raise FormatTooNew(where, version, FORMAT)
        facts = convert(record, CensusFacts)
        _check(facts)
    except Damaged as error:
        raise BadCensus(error.where, error.why) from error
    except (BadFacts, BadLsn) as error:
        raise BadCensus(where, f"its facts {error}") from error
    except ValidationError as error:
        raise BadCensus(where, f"its facts hold a wrong value: {error}") from error
    return Opened(facts, length)


class Part(NamedTuple):
    """A block, and where in the object it lies."""

    start: int
    block: Block
    first: int  # its first row, counted over all databases


def parts_of(opened: Opened, wanted: Collection[int] | None) -> list[Part]:
    """Return the blocks that hold relations of the wanted databases, by oid; None: all."""
    found, start, row = [], opened.start, 0
    spans = [
        span for database, span in _spans(opened.facts) if wanted is None or database.oid in wanted
    ]
    for block in opened.facts.blocks:
        if any(first < row + block.rows and row < end for first, end in spans):
            found.append(Part(start, block, row))
        start, row = start + block.size, row + block.rows
    return found


def open_part(sealed: Plain, block: Block, sealer: Sealer, where: str) -> list[Relation]:
    """Read a block that the facts name. Raise BadCensus, WrongKey or FormatTooNew."""
    relations = _read_rows(sealed, sealer, where)
    if id_of(sealed).hex() != block.id or len(relations) != block.rows:
        raise BadCensus(where, "it holds other relations than its facts name")
    return relations


def put_together(
    facts: CensusFacts, parts: Iterable[tuple[Part, list[Relation]]], wanted: Collection[int] | None
) -> Census:
    """Return the census of the wanted databases, from the blocks of parts_of()."""
    relations: dict[int, list[Relation]] = {}
    spans = [
        (database.oid, span)
        for database, span in _spans(facts)
        if wanted is None or database.oid in wanted
    ]
    for part, rows in parts:
        for oid, (first, end) in spans:
            low, high = max(first - part.first, 0), min(end - part.first, len(rows))
            if low < high:
                relations.setdefault(oid, []).extend(rows[low:high])
    return Census(
        id=CensusId(facts.id),
        taken_at=facts.taken_at,
        lsn=facts.position,
        timeline=facts.timeline,
        generation=facts.generation,
        databases=tuple(
            Database(one.oid, one.name, tuple(relations.get(one.oid, ())))
            for one in facts.databases
            if wanted is None or one.oid in wanted
        ),
        unread=tuple((one.name, one.why) for one in facts.unread),
    )


def _spans(facts: CensusFacts) -> Iterable[tuple[CountedDatabase, tuple[int, int]]]:
    """Yield the rows of each database: the first, and that behind the last."""
    row = 0
    for database in facts.databases:
        yield database, (row, row + database.relations)
        row += database.relations


def _read_rows(sealed: Plain, sealer: Sealer, where: str) -> list[Relation]:
    try:
        return decode_rows(sealer.unseal(CENSUS_ROWS, sealed, where))
    except Damaged as error:
        raise BadCensus(error.where, error.why) from error
    except BadRows as error:
        raise BadCensus(where, f"its relations {error}") from error


def _check(facts: CensusFacts) -> None:
    if facts.format < 1:
        raise BadFacts(f"have format {facts.format}, which was never written")
    Lsn.parse(facts.lsn)
    if facts.relations != sum(block.rows for block in facts.blocks):
        raise BadFacts("tell of other relations than their blocks hold")
    if len({one.oid for one in facts.databases}) < len(facts.databases):
        raise BadFacts("name a database twice")
