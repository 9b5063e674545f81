"""Transactions put together from pieces of WAL, against a model that keeps everything."""

import struct
from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.postgres.wal_changes.piece import Catalogs
from pgkeep.postgres.wal_changes.scan import Thread, scan
from pgkeep.undo.meaning.fold import Fold
from support.wal import ABORT, COMMIT, COMMIT_PREPARED, HAS_INFO, HEAP, PREPARE, XACT, WalWriter

DELETE, INSERT, UPDATE = 0x10, 0x00, 0x20
FLOOR: Final = 4
FILES: Final = (16384, 16385, 1259)

Counts = dict[int, list[int]]  # file: deleted, updated


@dataclass
class Part:
    """What a subtransaction, or the top of one, did; `ended` if it was rolled back alone."""

    xid: int
    rows: Counts = field(default_factory=lambda: defaultdict(lambda: [0, 0]))


@dataclass
class Model:
    """Writes WAL and knows what it should mean."""

    wal: WalWriter
    next_xid: int = 700
    running: dict[int, list[Part]] = field(default_factory=dict)  # by session
    prepared: dict[int, list[Part]] = field(default_factory=dict)
    expected: list[tuple[int, dict[int, tuple[int, int]]]] = field(default_factory=list)
    time: int = 1_000_000

    def begin(self) -> Part:
        self.next_xid += 1
        return Part(self.next_xid)

    def change(self, session: int, info: int, count: int, file: int) -> None:
        """Change some rows in the innermost subtransaction."""
        parts = self.running.setdefault(session, [self.begin()])
        data = struct.pack("<IHBB", 0, 1, 0, 0)
        body = struct.pack("<BBHIIII", 0, 0, 0, 1663, 5, file, 0)
        body += struct.pack("<BB", 255, len(data)) + data
        for _ in range(count):
            self.wal.raw(HEAP, info, body, parts[-1].xid)
        if info != INSERT:
            parts[-1].rows[file][info == UPDATE] += count

    def savepoint(self, session: int) -> None:
        if session in self.running:
            self.running[session].append(self.begin())

    def rollback_to(self, session: int) -> None:
        """Abort the innermost subtransaction."""
        parts = self.running.get(session, [])
        if len(parts) > 1:
            self.wal.commit(parts.pop().xid, self._now(), ABORT)

    def abort(self, session: int) -> None:
        parts = self.running.pop(session, [])
        if parts:
            self._end(ABORT, parts, parts[0].xid)

    def commit(self, session: int) -> None:
        parts = self.running.pop(session, [])
        if parts:
            self._end(COMMIT, parts, parts[0].xid)
            self._expect(parts)

    def prepare(self, session: int) -> None:
        parts = self.running.pop(session, [])
        if parts:
            data = struct.pack("<IIIIq", 0, 0, parts[0].xid, 5, self._now())
            self.wal.add(XACT, PREPARE, data, parts[0].xid)
            self.prepared[parts[0].xid] = parts

    def commit_prepared(self, *_: int) -> None:
        """Commit the oldest prepared transaction, by a record of no transaction."""
        for xid in list(self.prepared)[:1]:
            parts = self.prepared.pop(xid)
            self._end(COMMIT_PREPARED, parts, 0)
            self._expect(parts)

    def switch(self, *_: int) -> None:
        """Go on in the next segment."""
        self.wal.switch()

    def _end(self, kind: int, parts: list[Part], xid: int) -> None:
        subxacts = [part.xid for part in parts[1:]]
        what = (2 if subxacts else 0) | (0 if xid else 16)
        if not what:
            self.wal.commit(xid, self._now(), kind)
            return
        data = struct.pack("<qI", self._now(), what)
        if subxacts:
            data += struct.pack(f"<I{len(subxacts)}I", len(subxacts), *subxacts)
        if not xid:
            data += struct.pack("<I", parts[0].xid)
        self.wal.add(XACT, kind | HAS_INFO, data, xid)

    def _expect(self, parts: list[Part]) -> None:
        total: Counts = defaultdict(lambda: [0, 0])
        for part in parts:
            for file, (deleted, updated) in part.rows.items():
                total[file][0] += deleted
                total[file][1] += updated
        users = {file: (a, b) for file, (a, b) in total.items() if file >= 16384}
        if sum(a + b for a, b in users.values()) >= FLOOR:
            self.expected.append((parts[0].xid, users))

    def _now(self) -> int:
        self.time += 1000
        return self.time


@lru_cache
def nearly_full(room: int) -> WalWriter:
    """Return a segment with so many bytes left: the next records cross into another one."""
    wal = WalWriter(18)
    wal.fill(room)
    return wal


sessions = st.integers(0, 3)
steps = st.one_of(
    st.tuples(
        st.just("change"),
        sessions,
        st.sampled_from([DELETE, UPDATE, INSERT]),
        st.integers(1, 6),
        st.sampled_from(FILES),
    ),
    st.tuples(
        st.sampled_from(["savepoint", "rollback_to", "abort", "commit", "commit", "prepare"]),
        sessions,
    ),
    st.tuples(st.sampled_from(["commit_prepared", "switch"]), sessions),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40), st.sampled_from([24, 72, 256, 2000]))
def test_rows_are_those_of_committed_parts_wherever_segments_end(
    script: list[tuple[str, *tuple[int, ...]]], room: int
) -> None:
    model = Model(deepcopy(nearly_full(room)))
    for name, *arguments in script:
        getattr(model, name)(*arguments)
    model.commit_prepared()

    thread, fold, found = Thread(Catalogs()), Fold(FLOOR), []
    for segment, content in model.wal.segments():
        for piece in thread.join(scan(content, segment, Catalogs())):
            found += list(fold.take(piece))
    got = [
        (
            deed.xid,
            {
                locator[2]: (rows.deleted, rows.updated)
                for locator, rows in deed.rows.items()
                if locator[2] >= 16384 and (rows.deleted or rows.updated)
            },
        )
        for deed in found
    ]
    assert got == model.expected


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25), st.lists(st.tuples(st.integers(0), st.binary(max_size=9))))
def test_damage_ends_the_reading_and_never_breaks_it(
    script: list[tuple[str, *tuple[int, ...]]], damage: list[tuple[int, bytes]]
) -> None:
    model = Model(WalWriter(18))
    for name, *arguments in script:
        if name != "switch":
            getattr(model, name)(*arguments)
    model.wal.commit(3, 7)
    ((segment, whole),) = model.wal.segments()
    content = bytearray(whole)
    used = model.wal.at - model.wal.start
    for where, what in damage:
        at = 40 + where % (used - 40)
        content[at : at + len(what)] = what
    stretch = scan(bytes(content[: len(whole)]), segment, Catalogs())
    list(Fold(FLOOR).take(stretch.piece))
