"""What `undo find` makes of records: put together, named, chosen, shown."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.cli.text import Look
from pgkeep.cli.undoing.find_text import report
from pgkeep.model.census import Database, Relation
from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_blocks.record import Locator
from pgkeep.postgres.wal_changes.few import Locked, Made
from pgkeep.undo.databases import drop_not_found, last_drop
from pgkeep.undo.errors import CannotUndo, NoSuchEvent
from pgkeep.undo.event import Event, EventKind, Hit, NamedBy
from pgkeep.undo.finding.remembered import Remembered
from pgkeep.undo.finding.report import Activity, Blind, Found
from pgkeep.undo.finding.window import newest_time, segments_between
from pgkeep.undo.meaning.changes import Weight
from pgkeep.undo.meaning.choose import Wanted, choose, strangers
from pgkeep.undo.meaning.classify import events_of
from pgkeep.undo.meaning.deed import Deed, Rows
from pgkeep.undo.meaning.maker import Maker, Origin
from pgkeep.undo.meaning.names import Names, titles
from support.censuses import some_census

NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
USERS = Relation(16384, "public", "users", "r", 16384, 1663, 81920, 1000.0, ("id",), 0, 16387)
TOAST = Relation(16387, "pg_toast", "pg_toast_16384", "t", 16387, 1663, 0, -1.0, (), 16384)
INDEX = Relation(16389, "public", "users_pkey", "i", 16389, 1663, 8192, 1000.0, (), 16384)
SMALL = Relation(16400, "public", "small", "r", 16400, 1663, 8192, 30.0)
NAMES = Names(
    (some_census(lsn=Lsn(1), databases=(Database(5, "shop", (USERS, TOAST, INDEX, SMALL)),)),)
)
ORIGIN = Origin("15-1", 1)


def file(number: int) -> Locator:
    return (1663, 5, number)


def deed(**facts: Any) -> Deed:
    return Deed(xid=700, first=Lsn(900), commit=Lsn(1000), time=NOON, **facts)


def events(one: Deed, weight: Weight | None = None, names: Names = NAMES) -> list[Event]:
    maker = Maker(one, replace(names, links={}), ORIGIN)
    maker.learn()
    return list(events_of(replace(maker), weight or Weight()))


def brief(found: list[Event]) -> list[tuple[str, str, int]]:
    return [(str(event.kind), event.relation, event.rows) for event in found]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param({16384: Rows(deleted=499)}, [], id="less than half"),
        pytest.param({16384: Rows(deleted=500)}, [("delete", "users", 500)], id="half"),
        pytest.param({16400: Rows(deleted=19)}, [], id="few of few"),
        pytest.param({16400: Rows(updated=20)}, [("update", "small", 20)], id="most of few"),
        pytest.param({16387: Rows(deleted=9000)}, [], id="TOAST rows are no rows"),
        pytest.param({16389: Rows(deleted=9000)}, [], id="nor are an index's"),
        pytest.param({1259: Rows(deleted=9000)}, [], id="catalogs are not the user's"),
        pytest.param({16384: Rows(inserted=9000)}, [], id="inserting destroys nothing"),
        pytest.param(
            {16384: Rows(deleted=2000, updated=3000)},
            [("delete", "users", 2000), ("update", "users", 3000)],
            id="both",
        ),
        pytest.param(
            {16384: Rows(deleted=980), 16400: Rows(deleted=20)},
            [("delete", "users and 1 more", 1000)],
            id="together",
        ),
    ],
)
def test_many_rows(rows: Mapping[int, Rows], expected: list[tuple[str, str, int]]) -> None:
    found = brief(events(deed(rows={file(number): count for number, count in rows.items()})))
    assert found == [(kind, f"shop.public.{name}", count) for kind, name, count in expected]


def test_min_rows_alone_decides_when_it_is_given() -> None:
    one = deed(rows={file(16384): Rows(deleted=900), file(16400): Rows(updated=5)})
    assert brief(events(one, Weight(901, or_half=False))) == []
    assert brief(events(one, Weight(900, or_half=False))) == [("delete", "shop.public.users", 900)]
    assert len(events(one, Weight(1, or_half=False))) == 2


def locked(at: int, oid: int) -> Locked:
    return Locked(Lsn(at), 700, 5, oid)


def made(at: int, number: int, tablespace: int = 1663) -> Made:
    return Made(Lsn(at), 700, (tablespace, 5, number), 0)


def test_emptied_moved_and_rewritten_tables_are_told_apart_by_their_new_files() -> None:
    """One old file, one new: it is the new one's content that tells."""
    facts: dict[str, Any] = {"locked": (locked(901, 16384),), "files": (file(16384),)}
    emptied = deed(made=(made(902, 17000),), **facts)
    assert brief(events(emptied)) == [("truncate", "shop.public.users", 1000)]
    refilled = replace(emptied, rows={file(17000): Rows(inserted=7)})
    (event,) = events(refilled)
    assert event.kind is EventKind.TRUNCATE
    assert event.notes == ("7 rows were put in afterwards, in the same transaction",)
    moved = replace(emptied, made=(made(902, 17000, tablespace=16500),))
    assert brief(events(moved)) == [("rewrite", "shop.public.users", -1)]
    copied = replace(emptied, rows={file(17000): Rows(pages=3)})
    assert brief(events(copied)) == [("rewrite", "shop.public.users", -1)]


def test_emptied_in_the_middle_of_other_work() -> None:
    """A new table, and one emptied that no census knows, and one that is known, in a migration."""
    mixed = deed(
        locked=(locked(901, 17000), locked(903, 16900), locked(905, 16384)),
        made=(made(902, 17000), made(904, 17001), made(906, 17002)),
        files=(file(16384), file(16900)),
    )
    (event,) = events(mixed)
    assert event.kind is EventKind.TRUNCATE
    assert [hit.title for hit in event.hits] == ["shop.public.users", "shop, OID 16900"]


def test_before_15_a_drop_is_known_by_the_rows_of_pg_class_that_went() -> None:
    gone = (file(16384), file(16387), file(16389))
    dropped = deed(files=gone, rows={file(1259): Rows(deleted=3)})
    assert brief(events(dropped)) == [("drop-table", "shop.public.users", 1000)]
    rewritten = deed(files=gone, rows={file(1259): Rows(deleted=3, inserted=3)})
    assert brief(events(rewritten)) == [("rewrite", "shop.public.users", -1)]


def test_what_a_transaction_made_itself_is_no_loss() -> None:
    own = deed(
        made=(made(902, 17000),),
        locked=(locked(901, 17000),),
        files=(file(17000),),
        dropped=((5, 17000),),
        rows={file(17000): Rows(deleted=5000)},
    )
    assert events(own) == []


EVENT = Event(
    number=1,
    kind=EventKind.DELETE,
    xid=120765,
    commit_time=NOON,
    commit_lsn=Lsn.parse("0/4A000158"),
    first_lsn=Lsn.parse("0/4A000028"),
    stop_lsn=Lsn.parse("0/4A000158"),
    timeline=1,
    generation="18-7710983248089545577",
    hits=(
        Hit(
            5,
            16384,
            1663,
            16390,
            "shop",
            "public",
            "users",
            "r",
            1200,
            5000,
            1 << 20,
            NamedBy.CENSUS,
        ),
    ),
    began_after=NOON - timedelta(seconds=3),
    began_before=NOON - timedelta(seconds=1),
)


hits = st.builds(
    Hit,
    *[st.integers(0, 1 << 32)] * 4,
    *[st.text()] * 4,
    *[st.integers(-1, 1 << 40)] * 3,
    st.sampled_from(NamedBy),
    st.text(),
)
moments = st.datetimes(timezones=st.just(UTC))


@given(
    st.builds(
        Event,
        number=st.integers(1),
        kind=st.sampled_from(EventKind),
        xid=st.integers(3, 1 << 32),
        commit_time=moments,
        commit_lsn=st.integers(0, 1 << 63).map(Lsn),
        first_lsn=st.integers(0, 1 << 63).map(Lsn),
        stop_lsn=st.integers(0, 1 << 63).map(Lsn),
        hits=st.lists(hits, max_size=3).map(tuple),
        columns=st.lists(st.integers(1, 1600), max_size=3).map(tuple),
        began_after=st.none() | moments,
        notes=st.lists(st.text(), max_size=2).map(tuple),
    )
)
def test_an_event_is_remembered_as_it_was(event: Event) -> None:
    assert Event.from_dict(event.to_dict()) == event


def test_the_last_find_is_remembered_and_damage_is_told(tmp_path: Path) -> None:
    remembered = Remembered(str(tmp_path / "new" / "found.json"))
    with pytest.raises(NoSuchEvent, match="the last find found none, or there was none"):
        remembered.recall(1)
    assert remembered.remember([EVENT]) is None
    assert remembered.recall(1) == EVENT
    Path(remembered.path).write_text('{"version": 1, "events": [{}]}')
    with pytest.raises(CannotUndo, match="cannot use an event by its number"):
        remembered.recall(1)
    assert remembered.remember([]) is None
    with pytest.raises(NoSuchEvent):
        remembered.recall(1)
    assert [path.name for path in Path(remembered.path).parent.iterdir()] == ["found.json"]
    nowhere = Remembered("/proc/none/found.json")
    assert "/proc/none/found.json: " in (nowhere.remember([EVENT]) or "")


DROP = replace(EVENT, kind=EventKind.DROP_DATABASE, hits=(), database_oid=16423, database="old")


def test_the_newest_drop_of_a_database_is_found_by_name_or_transaction() -> None:
    later = replace(DROP, xid=120900, commit_lsn=Lsn.parse("0/4B000000"))
    nameless = replace(DROP, xid=120950, commit_lsn=Lsn.parse("0/4C000000"), database="")
    drops = [later, DROP, nameless]
    assert last_drop(drops, "old", None) is later
    assert last_drop(drops, "other", None) is None
    assert last_drop(drops, "other", (1 << 32) + 120950) is nameless


def test_a_drop_without_a_name_on_record_is_offered() -> None:
    error = drop_not_found("new", [DROP, replace(DROP, database="")])
    assert str(error) == (
        "cannot bring back database new: no DROP DATABASE of the last 24 hours is known to be of "
        f"it; database 16423, dropped at {NOON:%Y-%m-%d %H:%M:%S} UTC, was made after the last "
        "census: no name is on record"
    )
    assert error.hint == "if it may be that one: pgkeep undo database new --before xid:120765"
    assert "--since 30d" in drop_not_found("new", [DROP]).hint


def test_events_are_chosen_and_rewrites_only_counted() -> None:
    rewrite = replace(EVENT, kind=EventKind.REWRITE)
    nameless = replace(EVENT, hits=(Hit(5, 0, 1663, 77),))
    late = replace(EVENT, commit_time=NOON + timedelta(hours=1))
    found = [rewrite, EVENT, nameless, late]
    chosen = choose(found, Wanted(until=NOON))
    assert [(e.number, e.hits) for e in chosen.events] == [(1, EVENT.hits), (2, nameless.hits)]
    assert chosen.not_shown == ((EventKind.REWRITE, 1),)
    assert choose(found, Wanted(kinds=(EventKind.REWRITE,))).events == (rewrite,)
    for title in ("users", "public.users", "shop.public.users"):
        asked = choose(found, Wanted(tables=(title,), since=NOON))
        assert [event.commit_time for event in asked.events] == [NOON, late.commit_time]
        assert asked.nameless == 1
    assert choose(found, Wanted(databases=("other",))).events == ()
    assert strangers(("userz",), NAMES, found) == {"userz": ["users"]}
    assert strangers(("shop.public.small",), NAMES, found) == {}


def test_a_table_may_be_written_as_sql_writes_it() -> None:
    assert titles("shop", "public", 'a "b".c') == (
        'shop.public.a "b".c', 'public.a "b".c', 'a "b".c',
        'shop.public."a ""b"".c"', 'public."a ""b"".c"', '"a ""b"".c"',
    )  # fmt: skip


@given(
    st.lists(st.none() | st.integers(0, 99).map(lambda n: (n, n + 1)), max_size=60),
    st.none() | st.integers(0, 100),
    st.none() | st.integers(0, 100),
)
def test_no_segment_with_a_moment_in_the_window_is_left_out(
    spans: list[tuple[int, int] | None], since: int | None, until: int | None
) -> None:
    """Where times are in order; the segments in between are all taken, whatever they hold."""
    ordered = iter(sorted(span for span in spans if span))
    times = [next(ordered) if span else None for span in spans]
    numbers = range(100, 100 + len(times))

    def moment(at: int) -> datetime:
        return NOON + timedelta(minutes=at)

    def asked(number: int) -> tuple[datetime, datetime] | None:
        span = times[number - 100]
        return (moment(span[0]), moment(span[1])) if span else None

    since_at = None if since is None else moment(since)
    until_at = None if until is None else moment(until)
    chosen = segments_between(numbers, asked, since_at, until_at)
    for number in numbers:
        span = asked(number)
        if span and (since_at is None or span[1] >= since_at):
            assert number in chosen or (until_at is not None and span[0] > until_at)
    newest = [span[1] for span in map(asked, numbers) if span]
    assert newest_time(numbers, asked) == (newest[-1] if newest else None)


def found(**changes: Any) -> Found:
    facts: dict[str, Any] = {
        "cluster": "main",
        "generation": EVENT.generation,
        "timeline": 1,
        "since": NOON - timedelta(hours=24),
        "until": None,
        "events": (EVENT,),
        "not_shown": (),
        "blind": (),
        "activity": Activity(NOON - timedelta(hours=1), NOON, (0, 5, 1200, 600)),
        "first": NOON - timedelta(hours=1),
        "last": NOON,
        "start": Lsn.parse("0/48000000"),
        "end": Lsn.parse("0/4A000180"),
        "bytes": 1 << 30,
        "segments": 64,
        "live_segments": 1,
        "census": None,
        "notes": (),
        "seconds": 4.0,
    }
    return Found(**facts | changes)


def test_the_text_says_what_was_lost_and_where_to_stop() -> None:
    doubtful = replace(
        EVENT,
        number=2,
        kind=EventKind.DROP,
        hits=(Hit(5, 16500, 0, 0, database="shop"),),
        whole=False,
        sure=False,
        began_after=None,
        notes=("made after the last census: nothing tells the name",),
    )
    hole = Blind("A", "C", "it is not archived", NOON, NOON + timedelta(minutes=1))
    text = report(
        found(
            events=(EVENT, doubtful),
            blind=(hole,),
            not_shown=((EventKind.REWRITE, 2),),
            notes=("n",),
        ),
        Look(UTC),
    )
    assert text == TEXT.strip("\n")


TEXT = """
2 events between 2026-11-28 11:00:00 UTC and 2026-11-28 12:00:00 UTC
searched 1 GiB of WAL of cluster main in 4.0 s, 1 segment of it not archived yet

#  COMMITTED                WHAT    OF                  ROWS   SIZE  TOOK      XID     STOP BEFORE
1  2026-11-28 12:00:00 UTC  delete  shop.public.users  1,200  1 MiB  <= 3.0 s  120765  lsn:0/4A000158
2  2026-11-28 12:00:00 UTC  drop    shop, OID 16500                            120765  lsn:0/4A000158

  event 2: it may have begun before the WAL that was searched: give an earlier --since
  event 2: likely, not certain: other work can leave the same records
  event 2: made after the last census: nothing tells the name

to bring back event 1: pgkeep undo table shop.public.users --event 1
to restore the moment before it: pgkeep restore --to lsn:0/4A000158 --exclusive --target-dir DIR

rows changed, 2026-11-28 11:00:00 UTC to 2026-11-28 12:00:00 UTC, at most 1,200 in 15 min:
 ▁█▄

blind from 2026-11-28 12:00:00 UTC to 2026-11-28 12:01:00 UTC: WAL A to C: it is not archived

2 rewrites kept their rows and are not shown (VACUUM FULL, CLUSTER, REFRESH, ALTER TABLE): --kind rewrite
note: n
"""  # noqa: E501 - as it is shown


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param(
            {"hits": (replace(EVENT.hits[0], name="the 'odd\""),)},
            "pgkeep undo table " + shlex.quote('shop.public."the \'odd"""') + " --event 1",
            id="odd names",
        ),
        pytest.param(
            {"kind": EventKind.DROP_DATABASE, "database": "shop"},
            "pgkeep undo database shop --event 1",
            id="database",
        ),
        pytest.param({"hits": (Hit(5, 16500, 0, 0, database="shop"),)}, "", id="nameless"),
        pytest.param({"hits": (replace(EVENT.hits[0], kind="i"),)}, "", id="index"),
    ],
)
def test_it_says_how_to_bring_it_back(changes: dict[str, Any], line: str) -> None:
    text = report(found(events=(replace(EVENT, **changes),)), Look(UTC))
    assert ("to bring back event 1: " in text) is bool(line)
    assert f"{line}\n" in text


def test_nothing_found_is_an_answer() -> None:
    text = report(found(events=(), activity=None, live_segments=0), Look(UTC))
    assert text == (
        "nothing found between 2026-11-28 11:00:00 UTC and 2026-11-28 12:00:00 UTC\n"
        "searched 1 GiB of WAL of cluster main in 4.0 s"
    )
    late = report(found(events=(), since=NOON + timedelta(hours=1), live_segments=0), Look(UTC))
    assert late.startswith(
        "nothing found since 2026-11-28 13:00:00 UTC: the newest transaction on record ended at "
        "2026-11-28 12:00:00 UTC\n"
    )
    empty = report(found(events=(), first=None, last=None, activity=None), Look(UTC))
    assert empty.startswith("nothing found: no transaction ended in this WAL\n")
