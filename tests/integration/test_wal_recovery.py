"""Recovery through restore_command: recovery ends where WAL ends, and nowhere else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pgkeep.postgres.conf import SPOOL_REMOVAL
from pgkeep.postgres.control import read_control
from pgkeep.server.instance import ServerWontStart
from pgkeep.server.scratch import ScratchCluster
from pgkeep.wal.commands import find_program
from pgkeep.wal.takeover import take_over_archive
from support.archives import Archived, archive, recovering
from support.clusters import NewCluster, only
from support.command import run_pgkeep_wal, write_config
from support.wait import wait_for


@pytest.fixture
def archived(new_cluster: NewCluster, tmp_path: Path) -> Archived:
    return archive(new_cluster, tmp_path)


def rows_in_five_segments(archived: Archived) -> list[str]:
    """Insert 1 to 5, each in a segment of its own; return their names."""
    archived.pg.sql("CREATE TABLE t (n int)")
    names = []
    for n in range(1, 6):
        archived.pg.sql(f"INSERT INTO t VALUES ({n})")
        names.append(archived.switch())
    return names


def until_it_dies(server: ScratchCluster) -> str:
    """Start a server and return its log once it has given up."""
    process = server.start(wait=False)
    wait_for(lambda: not process.is_alive(), what="the server to give up")
    return server.log


def until_promoted(server: ScratchCluster) -> list[int]:
    """Start a server, wait for the end of its recovery and return the rows it has."""
    server.start()
    wait_for(lambda: not server.value("SELECT pg_is_in_recovery()"), what="promotion")
    return [n for (n,) in server.sql("SELECT n FROM t ORDER BY n")]


def is_promoted(copy: Path) -> bool:
    """Tell whether recovery came to an end: then the signal is gone and a timeline begun."""
    return not (copy / "recovery.signal").exists() or read_control(str(copy)).timeline > 1


def test_everything_archived_is_recovered(archived: Archived, tmp_path: Path) -> None:
    copy = archived.base_backup(tmp_path / "copy")
    rows_in_five_segments(archived)
    with recovering(archived, copy, archived.restore_command()) as server:
        assert until_promoted(server) == [1, 2, 3, 4, 5]
        assert "pgkeep-wal" not in server.log  # what is normal is not worth a line
        assert [path for path in (copy / "pg_wal").iterdir() if "pgkeep" in path.name] == []


def damage(path: Path) -> Callable[[], object]:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return lambda: path.write_bytes(content)


def forbid(path: Path) -> Callable[[], object]:
    path.chmod(0)
    return lambda: path.chmod(0o600)


def lose_the_repository(path: Path) -> Callable[[], object]:
    """What an unmounted disk looks like: the directory is there and empty."""
    repository = next(parent for parent in path.parents if parent.name == "repository")
    away = repository.rename(repository.with_name("away"))
    repository.mkdir()

    def mount() -> None:
        repository.rmdir()
        away.rename(repository)

    return mount


@only(15, 18)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(damage, "it is damaged", id="damaged"),
        pytest.param(forbid, "permission denied (EACCES)", id="permission"),
        pytest.param(lose_the_repository, "there is no pgkeep repository in", id="unmounted"),
    ],
)
def test_scenario_60_a_passing_fetch_failure_must_not_look_like_the_end_of_wal(
    archived: Archived,
    tmp_path: Path,
    fault: Callable[[Path], Callable[[], object]],
    message: str,
) -> None:
    copy = archived.base_backup(tmp_path / "copy")
    names = rows_in_five_segments(archived)
    archived.pg.stop()
    mend = fault(archived.object(names[2]))
    with recovering(archived, copy, archived.restore_command()) as server:
        log = until_it_dies(server)
        assert "recovery stops here, so that nothing is lost" in log
        assert message in log
        assert "FATAL:  could not restore file" in log
        assert not is_promoted(copy)
        mend()
        assert until_promoted(server) == [1, 2, 3, 4, 5]


@only(18)
def test_scenario_60_a_wrong_key_stops_recovery(new_cluster: NewCluster, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("horse\n")
    secret.chmod(0o600)
    archived = archive(
        new_cluster, tmp_path, passphrase="horse", more_config="", wal_level="replica"
    )
    text = archived.config.read_text()
    keyed = text.replace("[repository]", '[repository]\npassphrase_file = "secret"')
    archived.config.write_text(keyed)
    copy = archived.base_backup(tmp_path / "copy")
    rows_in_five_segments(archived)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(keyed.replace('"secret"', '"mistyped"'))
    (tmp_path / "mistyped").write_text("house\n")
    (tmp_path / "mistyped").chmod(0o600)
    with recovering(archived, copy, archived.restore_command(wrong)) as server:
        assert "pgkeep-wal: cannot open " in until_it_dies(server)
    for environment, status in (({"PGKEEP_PASSPHRASE": ""}, 100), ({}, 36)):
        without = tmp_path / "without.toml"
        without.write_text(text)
        name = archived.switch()
        fetched = archived.fetch(name, tmp_path / "x")
        assert fetched.exit == 0
        for words, expected in (
            (("push", str(archived.pg_wal / name)), status),
            (("fetch", name, str(tmp_path / "x")), 200),
        ):
            done = run_pgkeep_wal(*words, config=without, env=environment)
            assert done.exit == expected, done


@only(18)
def test_scenario_61_a_hole_in_the_archive(archived: Archived, tmp_path: Path) -> None:
    copy = archived.base_backup(tmp_path / "copy")
    names = rows_in_five_segments(archived)
    archived.object(names[2]).unlink()
    assert archived.status().problems == (
        f"segment {names[2]} is missing on timeline 1: no recovery goes across",
    )
    asked = archived.fetch(names[2], tmp_path / "x")
    assert asked.exit == 1
    assert asked.stderr == (
        f"pgkeep-wal: {names[2]} is missing from the archive although {names[3]} is there: "
        "a hole in the WAL\n"
    )
    # PostgreSQL promotes at a hole: restore refuses to go there; here its log says what happened.
    with recovering(archived, copy, archived.restore_command()) as server:
        assert until_promoted(server) == [1, 2]
        assert "a hole in the WAL" in server.log


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@only(18)
def test_scenario_62_a_damaged_segment_is_never_handed_to_the_server(
    archived: Archived, tmp_path: Path
) -> None:
    names = rows_in_five_segments(archived)
    path = archived.object(names[2])
    content = path.read_bytes()
    other = archived.object(names[3]).read_bytes()
    broken = {
        "flipped in the header": flip(content, 20),
        "flipped in the middle": flip(content, len(content) // 2),
        "flipped at the end": flip(content, len(content) - 1),
        "zeroed tail": content[:-100] + bytes(100),
        "truncated": content[: len(content) // 2],
        "nearly empty": content[:10],
        "empty": b"",
        "longer": content + b"x",
        "another segment's": other,
    }
    destination = tmp_path / "fetched"
    for kind, damaged in broken.items():
        path.write_bytes(damaged)
        done = archived.fetch(names[2], destination)
        assert (kind, done.exit) == (kind, 200)
        assert "damaged" in done.stderr, kind
        assert list(tmp_path.glob("fetched*")) == [], kind
    path.write_bytes(content)
    archived.fetch(names[2], destination).ok()


@only(18)
def test_scenario_63_an_alien_segment_copied_in_by_hand_is_not_served(
    archived: Archived, new_cluster: NewCluster, tmp_path: Path
) -> None:
    name = archived.switch()
    stranger = new_cluster("stranger", fresh_identity=True)
    alien = stranger.data_directory / "pg_wal" / stranger.switch_wal()
    archived.wal.push(alien.name + ".partial", alien.read_bytes())  # as if it were ours
    done = archived.fetch(alien.name + ".partial", tmp_path / "x")
    assert done.exit == 200
    assert f"cannot use the archived {alien.name}.partial: it is WAL of" in done.stderr
    following = f"{int(name, 16) + 1:024X}"
    archived.wal.push(following, (archived.pg_wal / name).read_bytes())
    done = archived.fetch(following, tmp_path / "x")
    assert done.exit == 200
    assert f"its content is that of {name}" in done.stderr
    assert list(tmp_path.glob("x*")) == []


@only(18)
def test_wal_of_another_server_is_never_served(
    archived: Archived, new_cluster: NewCluster, tmp_path: Path
) -> None:
    name = archived.switch()
    stranger = new_cluster("stranger", fresh_identity=True)
    done = archived.fetch(name, "pg_wal/RECOVERYXLOG", cwd=stranger.data_directory)
    assert done.exit == 200
    assert done.stderr.startswith(f"pgkeep-wal: cannot fetch {name}: it belongs to system identi")
    archived.cluster.add_generation(read_control(str(stranger.data_directory)).generation)
    unclear = archived.fetch(name, tmp_path / "x", cwd=tmp_path)
    assert unclear.exit == 200
    assert "has WAL of 2 servers" in unclear.stderr
    # Both are known now, and each directory gets its own WAL.
    missing = archived.fetch(name, "pg_wal/RECOVERYXLOG", cwd=stranger.data_directory)
    assert missing.exit == 1
    archived.fetch(name, "pg_wal/RECOVERYXLOG").ok()
    words = ["--generation", archived.generation, "fetch", name, str(tmp_path / "x")]
    assert run_pgkeep_wal(*words, config=archived.config, cwd=tmp_path).exit == 0
    mixed = run_pgkeep_wal(
        *("--generation", archived.generation, "fetch", name, "pg_wal/RECOVERYXLOG"),
        config=archived.config,
        cwd=stranger.data_directory,
    )
    assert mixed.exit == 200


@only(18)
def test_only_a_known_cluster_of_a_reachable_repository_can_miss_a_file(
    archived: Archived, tmp_path: Path
) -> None:
    name = "0000000100000000000000FF"
    assert archived.fetch(name, tmp_path / "x").exit == 1
    assert archived.fetch("00000002.history", tmp_path / "x").exit == 1
    assert archived.fetch("00000002.history", tmp_path / "x").stderr == ""
    assert archived.fetch("RECOVERYXLOG", tmp_path / "x").exit == 200
    assert archived.fetch("../../pgkeep.json", tmp_path / "x").exit == 200
    unknown = write_config(tmp_path / "two.toml", archived.repository, {"other": ""})
    words = ["fetch", name, str(tmp_path / "x")]
    assert run_pgkeep_wal(*words, config=unknown).exit == 200
    nowhere = write_config(tmp_path / "three.toml", tmp_path / "nowhere", {"main": ""})
    assert run_pgkeep_wal(*words, config=nowhere).exit == 200
    unwritable = archived.fetch(archived.switch(), tmp_path / "no/folder/x")
    assert unwritable.exit == 200
    assert "cannot write" in unwritable.stderr


def test_scenario_65_partial_segments_at_promotion(archived: Archived, tmp_path: Path) -> None:
    rows_in_five_segments(archived)
    copy = archived.base_backup(tmp_path / "copy")
    archived.pg.sql("INSERT INTO t VALUES (6)")
    # The copy follows the archive, then is promoted in mid-segment and archives to the same place.
    # What the primary has written of its current segment comes from its own pg_wal.
    archived.pg.stop("immediate")
    for path in archived.pg_wal.glob("0*"):
        if path.name not in archived.files():
            shutil.copy(path, copy / "pg_wal" / path.name)
    settings = {
        "archive_mode": "on",
        "archive_command": (archived.pg.data_directory / "postgresql.conf")
        .read_text()
        .rpartition("archive_command = '")[2]
        .partition("'\n")[0],
    }
    with recovering(archived, copy, archived.restore_command(), **settings) as server:
        take_over_archive([archived.cluster], str(copy), "")
        assert until_promoted(server) == [1, 2, 3, 4, 5, 6]
        partial = wait_for(lambda: archived.listing().partials, what="a .partial file")[0]
        wait_for(lambda: archived.listing().histories == [2], what="the history file")
        whole = partial.removesuffix(".partial")
        assert partial in archived.files()
        assert whole not in archived.files()
        # asked for by its plain name it is not there: it is not whole
        asked = archived.fetch(whole, tmp_path / "x")
        assert asked.exit == 1
        assert f"the unfinished {partial} is not used by itself" in asked.stderr
        server.switch_wal()
        new = f"00000002{whole[8:]}"
        wait_for(lambda: new in archived.files(), what="the new timeline's segment")
    # The old primary comes back and, once somebody has decided so, archives the segment whole.
    take_over_archive([archived.cluster], str(archived.pg.data_directory), "")
    archived.pg.start()
    archived.pg.sql("INSERT INTO t VALUES (7)")
    archived.switch()
    assert {whole, partial, new} <= archived.files()
    status = archived.status()
    assert status.archives[0].partials == (partial,)
    assert [line.timeline for line in status.archives[0].timelines] == [1, 2]
    assert status.problems == ()
    archived.fetch(partial, tmp_path / "partial").ok()


@only(15, 18)
def test_scenario_71_a_restored_copy_inherits_the_archive_command(
    archived: Archived, tmp_path: Path
) -> None:
    archived.pg.sql("CREATE TABLE t (n int)")
    archived.switch()
    archived.pg.stop()
    copy = tmp_path / "copy"
    shutil.copytree(archived.pg.data_directory, copy, symlinks=True)
    archived.pg.start()
    archived.pg.sql("INSERT INTO t VALUES (1)")
    name = archived.switch()
    stored = archived.object(name).read_bytes()
    clone = ScratchCluster.over(archived.pg.binaries, copy)
    clone.create()
    try:
        clone.start()
        clone.sql("INSERT INTO t VALUES (-1)")
        assert clone.switch_wal() == name
        refused = "SELECT failed_count > 0 FROM pg_stat_archiver"
        wait_for(lambda: clone.value(refused), what="the copy's refusal")
        assert "archives cluster main in" in clone.log
    finally:
        clone.destroy()
    assert archived.object(name).read_bytes() == stored
    archived.switch()
    assert archived.failed() == 0


@only(18)
def test_a_server_whose_python_is_gone_does_not_promote(archived: Archived, tmp_path: Path) -> None:
    copy = archived.base_backup(tmp_path / "copy")
    rows_in_five_segments(archived)
    broken = tmp_path / "pgkeep-wal"
    broken.write_text("#!/bin/sh\necho 'ModuleNotFoundError: pgkeep' >&2\nexit 1\n")
    broken.chmod(0o755)
    good = archived.restore_command()
    with recovering(archived, copy, good.replace(find_program(), str(broken), 1)) as server:
        with pytest.raises(ServerWontStart):
            server.start()
        assert not is_promoted(copy)


def planted(archived: Archived, copy: Path, name: str, content: bytes) -> str:
    """Put a file into the spool by hand; return the restore_command that will take it."""
    command = archived.restore_command()
    spool = copy / "pg_wal" / command.partition("pg_wal/")[2].partition("/")[0]
    spool.mkdir(parents=True)
    (spool / name).write_bytes(content)
    shutil.chown(spool, copy.stat().st_uid, copy.stat().st_gid)
    return command


@only(15, 18)
def test_scenario_60_a_short_file_planted_in_the_spool_stops_recovery(
    archived: Archived, tmp_path: Path
) -> None:
    copy = archived.base_backup(tmp_path / "copy")
    rows_in_five_segments(archived)
    archived.pg.stop()
    # the one that recovery begins with: prefetching removes what it did not put there itself
    first = (copy / "backup_label").read_text().partition("(file ")[2][:24]
    command = planted(archived, copy, first, b"short")
    with recovering(archived, copy, command) as server:
        log = until_it_dies(server)
        assert f'archive file "{first}" has wrong size: 5 instead of 1048576' in log
        assert not is_promoted(copy)
        # it was moved away with that: the next start fetches the true one
        assert until_promoted(server) == [1, 2, 3, 4, 5]


@only(15, 18)
def test_segments_of_another_generation_are_never_recovered_from(
    archived: Archived, tmp_path: Path
) -> None:
    copy = archived.base_backup(tmp_path / "copy")
    names = rows_in_five_segments(archived)
    other = copy / "pg_wal/pgkeep-spool-18-4711-00000000"
    other.mkdir(parents=True)
    (other / names[2]).write_bytes(bytes(1 << 20))
    with recovering(archived, copy, archived.restore_command()) as server:
        assert until_promoted(server) == [1, 2, 3, 4, 5]
        assert not other.exists()  # the end of recovery removes every spool


@only(15, 18)
def test_a_standby_follows_the_archive_with_few_segments_ahead(
    archived: Archived, tmp_path: Path
) -> None:
    copy = archived.base_backup(tmp_path / "copy")
    rows_in_five_segments(archived)
    command = archived.restore_command()
    settings = {"restore_command": command, "recovery_end_command": SPOOL_REMOVAL}
    server = ScratchCluster.over(archived.pg.binaries, copy, settings=settings)
    (copy / "standby.signal").touch()
    server.create()
    try:
        server.start()
        for n in range(6, 20):
            archived.pg.sql(f"INSERT INTO t VALUES ({n})")
            archived.switch()
        wait_for(lambda: server.value("SELECT max(n) FROM t") == 19, what="the last row")
        spools = list((copy / "pg_wal").glob("pgkeep-spool-*"))
        assert sum(len(list(spool.glob("0*"))) for spool in spools) <= 8
        server.sql("SELECT pg_promote()")
        wait_for(lambda: not server.value("SELECT pg_is_in_recovery()"), what="promotion")
        assert list((copy / "pg_wal").glob("pgkeep-spool-*")) == []
    finally:
        server.destroy()
