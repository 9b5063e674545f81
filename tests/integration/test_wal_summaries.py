"""WAL summaries as real servers write them: read as PostgreSQL reads them, and nothing missed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.model.timeline import History
from pgkeep.postgres.layout import Fork, RelationFile, relation_of_path
from pgkeep.postgres.wal_summary.changed import ChangedBlocks
from pgkeep.postgres.wal_summary.choose import (
    SummaryFile,
    SummaryGap,
    choose_summaries,
    summary_files,
)
from pgkeep.postgres.wal_summary.content import read_summary
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import BackupStart, QueryFailed, Session
from support.clusters import NewCluster, only
from support.wait import wait_for

SEGMENT_BLOCKS = 131072
FORKS = {"main": 0, "fsm": 1, "vm": 2, "init": 3}
LINE = re.compile(r"TS (\d+), DB (\d+), REL (\d+), FORK (\w+): (limit|block) (\d+)")

Row = tuple[int, int, int, int, int, bool]  # tablespace, database, filenode, fork, block, limit?
Pages = dict[str, bytes]  # of main forks, by path


@pytest.fixture
def pg(new_cluster: NewCluster) -> ScratchCluster:
    settings = {"summarize_wal": "on", "autovacuum": "off", "checkpoint_timeout": "1h"}
    return new_cluster(settings=settings)


def summaries(pg: ScratchCluster) -> Path:
    return pg.data_directory / "pg_wal" / "summaries"


def listed(pg: ScratchCluster) -> list[SummaryFile]:
    return summary_files(path.name for path in summaries(pg).iterdir())


def mark(pg: ScratchCluster) -> BackupStart:
    """Begin and end a backup; return where it began once all WAL before is summarized."""
    with Session.connect(pg.conninfo) as session:
        start = session.start_backup("x")
        session.stop_backup()
        wait_for(lambda: session.summarizer_state().summarized_lsn >= start.lsn, what="summaries")
    return start


def changed_between(pg: ScratchCluster, start: BackupStart, end: BackupStart) -> ChangedBlocks:
    changed = ChangedBlocks()
    history = History(end.timeline)
    for file in choose_summaries(listed(pg), history, start.lsn, end.lsn):
        changed.add(read_summary((summaries(pg) / file.name).read_bytes(), file.name))
    return changed


def write_history(pg: ScratchCluster, place: Path) -> None:
    """Do everything that a summary tells in a way of its own."""
    pg.sql("CREATE TABLE kept AS SELECT g, repeat('x', 500) AS t FROM generate_series(1, 3000) g")
    pg.sql("CREATE TABLE emptied AS SELECT * FROM kept")
    pg.sql("CREATE TABLE dropped AS SELECT * FROM kept")
    pg.sql("CREATE TABLE shrunk AS SELECT * FROM kept")
    pg.sql("CREATE TABLE rewritten (g int PRIMARY KEY, t text)")
    pg.sql("CREATE DATABASE moved")
    pg.sql("CREATE TABLE inside AS SELECT g FROM generate_series(1, 3000) g", dbname="moved")
    pg.sql(f"CREATE TABLESPACE space LOCATION '{place}'")
    mark(pg)
    pg.sql("UPDATE kept SET t = repeat('y', 500) WHERE g % 100 = 0")
    pg.sql("TRUNCATE emptied")
    pg.sql("INSERT INTO emptied SELECT * FROM kept LIMIT 10")
    pg.sql("DROP TABLE dropped")
    pg.sql("DELETE FROM shrunk WHERE g > 1000")
    pg.sql("VACUUM shrunk")
    pg.sql("INSERT INTO rewritten SELECT * FROM kept")
    pg.sql("VACUUM FULL rewritten")
    mark(pg)
    pg.sql("INSERT INTO shrunk SELECT * FROM kept LIMIT 500")
    pg.sql("CREATE DATABASE copied STRATEGY file_copy")
    pg.sql("CREATE DATABASE logged STRATEGY wal_log")
    pg.sql("CREATE TABLE inside AS SELECT g FROM generate_series(1, 3000) g", dbname="copied")
    pg.sql("ALTER DATABASE moved SET TABLESPACE space")
    pg.sql("CREATE UNLOGGED TABLE lost AS SELECT * FROM kept")
    pg.sql("CREATE INDEX ON kept (g)")
    mark(pg)


@pytest.fixture
def place(tmp_path: Path, pg: ScratchCluster) -> Path:
    """An empty place for a tablespace."""
    place = tmp_path / "space"
    place.mkdir(mode=0o700)
    owner = pg.data_directory.stat()
    shutil.chown(place, owner.st_uid, owner.st_gid)
    return place


def rows_of(content: bytes) -> set[Row]:
    found = set[Row]()
    for entry in read_summary(content, "x"):
        key = (entry.tablespace, entry.database, entry.number, entry.fork)
        found |= {(*key, int(block), False) for block in entry.blocks()}
        if entry.limit is not None:
            found.add((*key, entry.limit, True))
    return found


def rows_of_program(pg: ScratchCluster, file: SummaryFile) -> set[Row]:
    said = pg.tool("pg_walsummary", "--individual", str(summaries(pg) / file.name)).stdout
    rows = set[Row]()
    for line in said.splitlines():
        match = LINE.fullmatch(line)
        assert match is not None, line
        tablespace, database, number, fork, kind, block = match.groups()
        key = (int(tablespace), int(database), int(number), FORKS[fork])
        rows.add((*key, int(block), kind == "limit"))
    return rows


@only(17, 18)
def test_summaries_are_what_postgresql_says(pg: ScratchCluster, place: Path) -> None:
    write_history(pg, place)
    files = listed(pg)
    assert len(files) >= 3
    available = pg.sql(
        "SELECT tli, start_lsn::text, end_lsn::text FROM pg_available_wal_summaries()"
    )
    assert [(f.timeline, str(f.start), str(f.end)) for f in files] == sorted(
        available, key=lambda row: Lsn.parse(row[1])
    )
    everything = set[Row]()
    for file in files:
        ours = rows_of((summaries(pg) / file.name).read_bytes())
        theirs = pg.sql(
            "SELECT reltablespace::int8, reldatabase::int8, relfilenode::int8, relforknumber,"
            " relblocknumber, is_limit_block FROM pg_wal_summary_contents(%s, %s, %s)",
            *(file.timeline, str(file.start), str(file.end)),
        )
        assert ours == set(theirs)
        assert ours == rows_of_program(pg, file)
        everything |= ours
    assert {row[3] for row in everything} >= {0, 2, 3}
    assert any(row[2] == 0 and row[5] for row in everything)  # a database's directory
    assert any(row[4] > 0 and row[5] for row in everything)  # the truncation by VACUUM


def main_forks(pg: ScratchCluster) -> Pages:
    found: Pages = {}
    for folder, _, names in os.walk(pg.data_directory, followlinks=True):
        for name in names:
            path = Path(folder, name).relative_to(pg.data_directory)
            relation = relation_of_path(str(path))
            if relation is not None and relation.fork is Fork.MAIN:
                found[str(path)] = (pg.data_directory / path).read_bytes()
    return found


def missed(before: Pages, after: Pages, changed: ChangedBlocks) -> list[str]:
    """Return the pages that changed although the summaries do not say so."""
    wrong = []
    for path, content in after.items():
        relation = relation_of_path(path)
        assert relation is not None
        told = changed.of(relation, SEGMENT_BLOCKS)
        if told.recreated or path not in before:
            continue
        known = set(told.blocks.tolist())
        limit = 1 << 32 if told.limit is None else told.limit
        old = before[path]
        for block in range(min(limit, len(content) // 8192)):
            here = slice(block * 8192, block * 8192 + 8192)
            if block not in known and content[here] != old[here]:
                wrong.append(f"{path} block {block}")
    return wrong


@only(17, 18)
def test_no_changed_block_is_missed(pg: ScratchCluster, place: Path) -> None:
    pg.sql("CREATE TABLE early AS SELECT g, repeat('x', 500) AS t FROM generate_series(1, 9000) g")
    pg.sql("VACUUM FREEZE early")  # else reading it sets hint bits on every page
    start = mark(pg)
    before = main_forks(pg)
    pg.sql("UPDATE early SET t = 'new' WHERE g % 500 = 0")
    write_history(pg, place)
    end = mark(pg)
    after = main_forks(pg)
    assert len(after) > len(before)

    changed = changed_between(pg, start, end)

    assert missed(before, after, changed) == []
    assert missed(before, after, ChangedBlocks()) != []
    path = pg.value("SELECT pg_relation_filepath('early')")
    relation = relation_of_path(path)
    assert relation is not None
    told = changed.of(relation, SEGMENT_BLOCKS)
    assert (told.recreated, told.limit) == (False, None)
    assert len(told.blocks) < len(after[path]) // 8192 // 2  # not simply everything
    oids = dict(pg.sql("SELECT datname, oid::int8 FROM pg_database"))
    space = pg.value("SELECT oid::int8 FROM pg_tablespace WHERE spcname = 'space'")
    assert (1663, oids["copied"]) in changed.databases_recreated
    assert (space, oids["moved"]) in changed.databases_recreated
    assert (1663, oids["postgres"]) not in changed.databases_recreated


@only(17, 18)
def test_a_truncation_across_files_of_a_relation(pg: ScratchCluster) -> None:
    pg.sql("CREATE TABLE large AS SELECT g, repeat('x', 500) AS t FROM generate_series(1, 100) g")
    path = pg.data_directory / str(pg.value("SELECT pg_relation_filepath('large')"))
    pg.sql("CHECKPOINT")
    pg.stop()
    owner = path.stat()
    for file, size in ((path, 1 << 30), (path.with_name(path.name + ".1"), 64 * 8192)):
        with file.open("ab") as end:
            end.truncate(size)  # new pages, which the file system does not even store
        shutil.chown(file, owner.st_uid, owner.st_gid)
    pg.start()
    start = mark(pg)
    pg.sql("VACUUM large")
    blocks = pg.value("SELECT pg_relation_size('large')") // 8192
    assert 0 < blocks < 100

    changed = changed_between(pg, start, mark(pg))

    relation = relation_of_path(str(path.relative_to(pg.data_directory)))
    assert relation is not None
    first = changed.of(relation, SEGMENT_BLOCKS)
    assert (first.recreated, first.limit) == (False, blocks)
    assert changed.of(relation._replace(segment=1), SEGMENT_BLOCKS).recreated


@only(17, 18)
def test_summaries_follow_a_promotion(pg: ScratchCluster) -> None:
    start = mark(pg)
    pg.sql("CREATE TABLE t AS SELECT 1 AS n")
    pg.stop()
    (pg.data_directory / "recovery.signal").touch()
    pg.configure(restore_command="false")
    pg.start()
    wait_for(lambda: not pg.value("SELECT pg_is_in_recovery()"), what="promotion")
    pg.sql("INSERT INTO t VALUES (2)")
    end = mark(pg)
    assert (start.timeline, end.timeline) == (1, 2)
    history = History.parse(2, (pg.data_directory / "pg_wal" / "00000002.history").read_text())

    chosen = choose_summaries(listed(pg), history, start.lsn, end.lsn)

    assert {file.timeline for file in chosen} == {1, 2}
    with pytest.raises(SummaryGap, match=f"timeline 1 from .* to {end.lsn}"):
        choose_summaries(listed(pg), History(1), start.lsn, end.lsn)


@only(17, 18)
def test_wal_removed_while_nobody_summarized_is_a_gap(pg: ScratchCluster) -> None:
    start = mark(pg)
    with summarizer_off(pg):
        mark_without_summaries(pg)  # its checkpoint needs the WAL before it no longer
    pg.sql("CREATE TABLE t AS SELECT 1 AS n")
    end = mark(pg)
    with pytest.raises(SummaryGap, match="no WAL summary covers timeline 1 from"):
        choose_summaries(listed(pg), History(1), start.lsn, end.lsn)
    assert choose_summaries(listed(pg), History(1), end.lsn, end.lsn) == []


@contextmanager
def summarizer_off(pg: ScratchCluster) -> Iterator[None]:
    set_summarizer(pg, "off")
    yield
    set_summarizer(pg, "on")


def set_summarizer(pg: ScratchCluster, value: str) -> None:
    pg.sql(f"ALTER SYSTEM SET summarize_wal = {value}")
    pg.sql("SELECT pg_reload_conf()")
    with Session.connect(pg.conninfo) as session:
        wait_for(lambda: session.summarizer_state().running == (value == "on"))


def mark_without_summaries(pg: ScratchCluster) -> BackupStart:
    with Session.connect(pg.conninfo) as session:
        start = session.start_backup("x")
        session.stop_backup()
        state = session.summarizer_state()
        assert (state.timeline, state.running) == (1, False)
        assert state.summarized_lsn < start.lsn
    return start


@only(15)
def test_older_servers_know_no_summarizer(new_cluster: NewCluster) -> None:
    pg = new_cluster()
    with Session.connect(pg.conninfo) as session, pytest.raises(QueryFailed, match="summarized"):
        session.summarizer_state()


def test_a_relation_file_that_nothing_touched_has_no_changes() -> None:
    told = ChangedBlocks().of(RelationFile(1663, 5, 16384), SEGMENT_BLOCKS)
    assert (told.recreated, told.limit, told.blocks.tolist()) == (False, None, [])
    assert told.blocks.dtype == np.uint32
