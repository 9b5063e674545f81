"""What pgkeep reads from PostgreSQL's files, against what PostgreSQL itself says of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.postgres.backup_label import parse_backup_label, parse_tablespace_map
from pgkeep.postgres.control import State, read_control
from pgkeep.postgres.datadir import Entry, Kind, Skipped, tablespaces, walk
from pgkeep.postgres.layout import Fork, Rule
from pgkeep.postgres.pages import PageChecker
from pgkeep.postgres.versions import version
from pgkeep.postgres.wal_decode import Kind as End
from pgkeep.postgres.wal_header import check_segment
from pgkeep.postgres.wal_records import Ending, SegmentEvents, scan_segments
from pgkeep.server.binaries import as_server_user
from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster

MIB = 1 << 20
DESCRIBED = re.compile(
    r"rmgr: (Transaction|XLOG)\s+len \(rec/tot\):\s*\d+/\s*\d+, tx:\s*(\d+), "
    r"lsn: ([0-9A-F]+/[0-9A-F]+), prev \S+, desc: (\S+) (.*)"
)
WORDS = {
    "COMMIT": End.COMMIT,
    "ABORT": End.ABORT,
    "PREPARE": End.PREPARE,
    "COMMIT_PREPARED": End.COMMIT_PREPARED,
    "ABORT_PREPARED": End.ABORT_PREPARED,
}

Facts = tuple[str, ...]


def write_history(pg: ScratchCluster) -> None:
    """Write every kind of record that the scanner knows, in every size."""
    pg.fill(1)
    pg.work(300)
    with pg.connect() as connection:
        run = connection.execute
        run("CREATE TABLE t (n int, body text)")
        run("SELECT pg_create_restore_point('before ünïcode')")
        for number in range(40):
            run("BEGIN")
            run("INSERT INTO t VALUES (%s)", (number,))
            for point in range(number * 4):
                run(f"SAVEPOINT s{point}")
                run("INSERT INTO t VALUES (%s)", (point,))
            run("ROLLBACK" if number % 5 == 0 else "COMMIT")
        for end in ("COMMIT", "ROLLBACK"):
            run("BEGIN")
            run("INSERT INTO t VALUES (1)")
            run("SAVEPOINT s")
            run("CREATE TABLE two_phase_" + end + " (n int primary key)")
            run(f"PREPARE TRANSACTION '{end}'")
            run("CHECKPOINT")
            run(f"{end} PREPARED '{end}'")
        # a record longer than a segment, and DDL with thousands of invalidations in its commit
        run("ALTER TABLE t ALTER body SET STORAGE plain")
        run("SELECT pg_logical_emit_message(true, 'x', repeat('0123456789', 250000))")
        run("BEGIN")
        for number in range(300):
            run(f"CREATE TABLE many_{number} (n serial primary key, body text)")
        run("COMMIT")
        run("BEGIN; " + "".join(f"DROP TABLE many_{n};" for n in range(300)) + "COMMIT")
        run("SELECT pg_switch_wal()")
        run("CREATE TABLE after_the_switch (n int)")
        run("CHECKPOINT")
        run("SELECT pg_create_restore_point('last')")
        run("CREATE TABLE commit_writes_wal_out (n int)")  # a restore point alone does not


def described_by_waldump(pg: ScratchCluster, names: list[str]) -> list[Facts]:
    """Return what pg_waldump says of the same records."""
    wal = pg.data_directory / "pg_wal"
    done = subprocess.run(
        [
            *(pg.binaries.tool("pg_waldump"), "-p", str(wal)),
            *("-r", "Transaction", "-r", "XLOG", names[0], names[-1]),
        ],
        env={"TZ": "UTC", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    facts: list[Facts] = []
    for line in done.stdout.splitlines():
        match = DESCRIBED.match(line)
        assert match is not None, line
        kind, rest = match[4], match[5]
        lsn = str(Lsn.parse(match[3]))
        if kind in WORDS:
            time = re.search(r"(\d{4}-\d\d-\d\d [\d:.]+) UTC", rest)
            assert time is not None, line
            prepared = re.match(r"(\d+):", rest) if kind.endswith("_PREPARED") else None
            subxacts = re.search(r"; subxacts: ([\d ]+)", rest)
            listed = subxacts[1].strip() if subxacts and kind != "PREPARE" else ""
            xid = prepared[1] if prepared else match[2]
            facts.append((lsn, str(WORDS[kind]), xid, time[1], listed))
        elif kind == "RESTORE_POINT":
            facts.append((lsn, "restore point", rest.rstrip()))
        elif kind in {"CHECKPOINT_SHUTDOWN", "CHECKPOINT_ONLINE"}:
            redo = re.search(r"redo (\S+);", rest)
            assert redo is not None, line
            facts.append((lsn, kind, str(Lsn.parse(redo[1]))))
    return facts


def found_by_us(events: list[SegmentEvents]) -> list[Facts]:
    facts: list[Facts] = []
    for segment in events:
        for end in segment.transactions:
            time = end.time.strftime("%Y-%m-%d %H:%M:%S.%f")
            subxacts = " ".join(map(str, end.subxacts))
            facts.append((str(end.lsn), str(end.kind), str(end.xid), time, subxacts))
        for point in segment.restore_points:
            facts.append((str(point.lsn), "restore point", f"{point.name}"))
        for checkpoint in segment.checkpoints:
            kind = "CHECKPOINT_SHUTDOWN" if checkpoint.shutdown else "CHECKPOINT_ONLINE"
            facts.append((str(checkpoint.lsn), kind, str(checkpoint.redo)))
    return sorted(facts, key=lambda fact: Lsn.parse(fact[0]))


def segments_written(pg: ScratchCluster, size: int) -> list[Segment]:
    names = sorted(p.name for p in (pg.data_directory / "pg_wal").iterdir() if len(p.name) == 24)
    last = pg.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
    return [Segment.parse(name, size) for name in names if name <= last]


def test_transactions_are_what_pg_waldump_says(new_cluster: NewCluster) -> None:
    pg = new_cluster(settings={"max_prepared_transactions": 4, "wal_keep_size": "1GB"})
    write_history(pg)
    segments = segments_written(pg, MIB)
    wal = pg.data_directory / "pg_wal"
    contents = [(segment, (wal / segment.name).read_bytes()) for segment in segments]
    for segment, content in contents:
        header = check_segment(segment.name, content[:40], len(content))
        assert header.major == pg.binaries.major

    events = list(scan_segments(contents))

    expected = described_by_waldump(pg, [segment.name for segment in segments])
    ours = found_by_us(events)
    assert [f for f in ours if f not in set(expected)] == []
    assert ours == expected
    assert {fact[1] for fact in ours} >= {str(end) for end in End}
    endings = [e.ending for e in events]
    assert endings[-1] is Ending.UNUSED
    assert Ending.SWITCHED in endings
    assert Ending.BROKEN not in endings
    assert any(e.records == 0 for e in events), "no record was longer than a segment"
    assert events[-1].end == Lsn.parse(pg.value("SELECT pg_current_wal_lsn()::text"))


def test_pg_control_is_what_the_server_says(pg: ScratchCluster) -> None:
    pg.sql("CHECKPOINT")

    control = read_control(str(pg.data_directory))

    assert control.major == pg.binaries.major
    assert control.state is State.IN_PRODUCTION
    assert (control.segment_size, control.checksums) == (MIB, True)
    row = pg.sql(
        "SELECT system_identifier, catalog_version_no, checkpoint_lsn::text, redo_lsn::text,"
        " timeline_id, checkpoint_time FROM pg_control_system(), pg_control_checkpoint()"
    )[0]
    assert row == (
        control.system_identifier,
        control.catalog_version,
        str(control.checkpoint),
        str(control.redo),
        control.timeline,
        control.checkpoint_at,
    )
    assert control.max_connections == int(pg.value("SHOW max_connections"))
    assert control.max_wal_senders == int(pg.value("SHOW max_wal_senders"))
    assert control.wal_level == pg.value("SHOW wal_level")
    assert control.tablespace_folder == version(control.major, "").tablespace_folder
    pg.stop()
    assert read_control(str(pg.data_directory)).state is State.SHUT_DOWN


def test_checksums_are_what_the_server_wrote(pg: ScratchCluster) -> None:
    pg.fill(1)
    pg.stop()
    checker, pages = PageChecker(), 0
    for found in walk(str(pg.data_directory), version(pg.binaries.major, "").tablespace_folder):
        if isinstance(found, Entry) and found.relation is not None:
            content = (pg.data_directory / found.path).read_bytes()
            first = found.relation.first_block(131072)
            assert checker.suspicious(content, first, 1 << 63).tolist() == [], found.path
            assert checker.suspicious(content, first, 1 << 63, checksums=False).tolist() == []
            pages += len(content) // 8192
            if pages and len(content) >= 8192 and np.frombuffer(content, "<u2")[7]:
                assert checker.suspicious(content, first + 1, 1 << 63).tolist()
    assert pages > 2000


def test_a_data_directory_is_listed_by_the_servers_rules(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    pg = new_cluster()
    outside = tmp_path / "space"
    subprocess.run(["install", "-d", "-m", "700", str(outside)], check=True)
    os.chown(outside, *_owner(pg.data_directory))
    folder = version(pg.binaries.major, "").tablespace_folder
    (outside / "PG_99_1").mkdir()
    pg.sql(f"CREATE TABLESPACE space LOCATION '{outside}'")
    pg.sql("CREATE TABLE kept (n int) TABLESPACE space")
    pg.sql("CREATE UNLOGGED TABLE lost (n int)")
    pg.sql("INSERT INTO lost SELECT generate_series(1, 10000)")
    path = str(pg.value("SELECT pg_relation_filepath('lost')"))
    with pg.connect() as connection:
        connection.execute("CREATE TEMP TABLE passing AS SELECT 1")
        found = list(walk(str(pg.data_directory), folder, summaries=pg.binaries.major >= 17))

    kept = {entry.path: entry for entry in found if isinstance(entry, Entry)}
    skipped = {entry.path: entry.rule for entry in found if isinstance(entry, Skipped)}
    assert [p for p, rule in skipped.items() if rule.surprising] == []
    assert found[-1].path == "global/pg_control"
    assert skipped[path] is Rule.UNLOGGED
    init = kept[path + "_init"].relation
    assert init is not None
    assert init.fork is Fork.INIT
    assert Rule.TEMPORARY_RELATION in skipped.values()
    assert skipped["postmaster.pid"] is Rule.RUNNING
    for name in ("pg_wal", "pg_wal/archive_status", "pg_replslot", "pg_twophase", "pg_tblspc"):
        assert kept[name].kind is Kind.DIRECTORY
    assert not any(re.match(r"pg_wal/[0-9A-F]{24}", name) for name in kept)
    (space,) = tablespaces(str(pg.data_directory))
    assert space.target == str(outside)
    assert kept[f"pg_tblspc/{space.oid}"].target == str(outside)
    inside = [name for name in kept if name.startswith(f"pg_tblspc/{space.oid}/")]
    assert all(name.startswith(f"pg_tblspc/{space.oid}/{folder}") for name in inside)
    assert pg.value("SELECT pg_relation_filepath('kept')") in inside


def test_a_file_that_we_may_not_read_is_named(new_cluster: NewCluster) -> None:
    pg = new_cluster(start=False)
    (pg.data_directory / "base/1/1259").chmod(0)
    read = "import sys; from pgkeep.postgres.datadir import walk; list(walk(*sys.argv[1:]))"
    folder = version(pg.binaries.major, "").tablespace_folder
    command = [sys.executable, "-c", read, str(pg.data_directory), folder]
    done = subprocess.run(
        as_server_user(command, pg.data_directory), capture_output=True, text=True, check=False
    )
    assert f"cannot back up {pg.data_directory}/base/1/1259: permission denied as" in done.stderr
    assert "mode 0000" in done.stderr


def test_a_label_is_what_the_server_returns(new_cluster: NewCluster, tmp_path: Path) -> None:
    pg = new_cluster()
    outside = tmp_path / "a b\\c"
    outside.mkdir(mode=0o700)
    os.chown(outside, *_owner(pg.data_directory))
    pg.sql(f"CREATE TABLESPACE space LOCATION '{outside}'")
    known = version(pg.binaries.major, "")
    with pg.connect() as connection:
        row = connection.execute(known.start_call.encode(), ("a 'label'", True)).fetchone()
        assert row is not None
        stop = connection.execute(known.stop_call.encode()).fetchone()
    assert stop is not None
    label = parse_backup_label(stop[1])
    assert str(label.start) == row[0]
    assert (label.label, label.timeline, label.from_standby) == ("a 'label'", 1, False)
    assert str(label) == stop[1]
    assert list(parse_tablespace_map(stop[2]).values()) == [str(outside)]


def _owner(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_uid, facts.st_gid


@pytest.mark.parametrize(
    "directory", ["/srv/it's %f here", '/srv/"$HOME" `id`', "/srv/back\\slash %%", "/srv/ü *"]
)
def test_commands_survive_hostile_paths(
    new_cluster: NewCluster, tmp_path: Path, directory: str
) -> None:
    from pgkeep.postgres.conf import quote_value, shell_command

    store = tmp_path / directory.removeprefix("/")
    store.mkdir(parents=True)
    for path in [store, *store.parents][:2]:
        path.chmod(0o777)
    pg = new_cluster(start=False)
    command = shell_command(["cp", "%p", f"{store}/copy"])
    with (pg.data_directory / "postgresql.conf").open("a") as file:
        file.write(f"archive_mode = on\narchive_command = {quote_value('x', command)}\n")
    pg.start()
    assert pg.value("SHOW archive_command") == command
    pg.switch_wal()
    pg.stop()  # its end waits for the archiver
    assert (store / "copy").stat().st_size == MIB
