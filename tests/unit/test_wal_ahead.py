"""Pushing and fetching ahead, within one process: what happens at once, and in which order."""

import os
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from pgkeep.config_file import ConfigValue
from pgkeep.model.segment import Segment
from pgkeep.repository.repository import Repository
from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.store.open import make_store, open_store
from pgkeep.repository.wal_archive import WalArchive
from pgkeep.wal.ahead import prefetch
from pgkeep.wal.ahead.acks import Acks
from pgkeep.wal.ahead.losses import Lost
from pgkeep.wal.ahead.process import Archives, backup_command
from pgkeep.wal.ahead.pusher import Pusher
from pgkeep.wal.ahead.settings import Settings, read_settings
from pgkeep.wal.ahead.spool import Spool
from pgkeep.wal.main import Call
from pgkeep.wal.place import Candidates, Opened
from support.segments import GENERATION, SIZE, segment_content
from support.wait import wait_for

NAMES = [Segment(1, 7 + n, SIZE).name for n in range(12)]
TOGETHER = 30.0  # seconds to wait for others who never come


@pytest.fixture
def pg_wal(tmp_path: Path) -> Path:
    (tmp_path / "pg_wal/archive_status").mkdir(parents=True)
    return tmp_path / "pg_wal"


def ready(pg_wal: Path, names: Sequence[str] = NAMES) -> Acks:
    for name in names:
        segment = Segment.parse(name, SIZE)
        (pg_wal / name).write_bytes(segment_content(segment.number, segment))
        (pg_wal / f"archive_status/{name}.ready").touch()
    acks = Acks(str(pg_wal), f"acks/{os.getpid()}")
    acks.prepare()
    return acks


def test_files_are_pushed_side_by_side(pg_wal: Path) -> None:
    acks, together = ready(pg_wal), threading.Barrier(4)
    left = list(NAMES)

    def push(path: str) -> None:
        together.wait(TOGETHER)
        left.remove(os.path.basename(path))

    Pusher(acks, push, jobs=4).run(lambda: True, idle=0.2)
    assert left == []
    assert all(acks.has(name) for name in NAMES)


def test_the_oldest_is_pushed_first_and_nothing_twice(pg_wal: Path) -> None:
    (pg_wal / "00000002.history").write_text("1\t0/700000\tx\n")
    acks = ready(pg_wal, list(reversed(NAMES)))
    (pg_wal / "archive_status/00000002.history.ready").touch()
    pushed: list[str] = []
    Pusher(acks, pushed.append, jobs=1).run(lambda: True, idle=0.2)
    assert [os.path.basename(path) for path in pushed] == ["00000002.history", *NAMES]


def test_a_failing_store_is_tried_with_one_file_at_a_time(pg_wal: Path) -> None:
    acks = ready(pg_wal)
    tries: list[str] = []

    def push(path: str) -> None:
        tries.append(os.path.basename(path))
        if len(tries) < 8:
            acks.ask(NAMES[0])  # somebody waits, so there is no pause
            raise StoreFailed("/srv", "write", "injected")

    Pusher(acks, push, jobs=4).run(lambda: len(tries) < 8, idle=5)
    assert sorted(tries[:4]) == NAMES[:4]  # the first, before it was known
    assert set(tries[4:8]) == {NAMES[0]}


def test_a_file_that_changed_meanwhile_is_not_acknowledged(pg_wal: Path) -> None:
    acks = ready(pg_wal, NAMES[:1])

    def push(path: str) -> None:
        (pg_wal / "new").write_bytes(b"another")
        os.replace(pg_wal / "new", path)

    Pusher(acks, push, jobs=1).run(iter([True, False]).__next__, idle=5)
    assert not acks.has(NAMES[0])
    refusal = acks.refusal(NAMES[0])
    assert refusal is not None
    assert refusal.message == f"cannot archive {NAMES[0]}: it changed while it was being read"


def test_all_repositories_get_it_before_it_is_acknowledged(pg_wal: Path) -> None:
    acks = ready(pg_wal, NAMES[:3])
    folders = []
    for name in ("one", "two"):
        folder = Repository.create(MemoryStore(name), "none", None).cluster("main")
        folder.add_generation(GENERATION)
        folders.append(folder)
    openers = tuple((lambda folder=folder: Opened(folder)) for folder in folders)
    archives = Archives(Candidates(openers, all_of_them=True), None, pytest.fail)
    Pusher(acks, archives.push, jobs=2).run(lambda: True, idle=0.2)
    for folder in folders:
        assert all(folder.wal(GENERATION.id).has(name) for name in NAMES[:3])
    archives.record(str(pg_wal), [Lost(NAMES[7], 5, "no room"), Lost(NAMES[8], 6, "no room")])
    for folder in folders:
        (blob,) = folder.store.list("clusters/main/lost/")
        assert blob.name.endswith(f"/{NAMES[7]}-{NAMES[8]}.json")


def test_what_waits_for_one_repository_is_brought_to_the_others(
    pg_wal: Path, tmp_path: Path
) -> None:
    acks = ready(pg_wal)
    near, far, away = (tmp_path / name for name in ("near", "far", "away"))
    for place in (near, far):
        folder = Repository.create(make_store(str(place)), "none", None).cluster("main")
        folder.add_generation(GENERATION)
    openers = tuple(partial(opened, place) for place in (near, far))
    archives = Archives(Candidates(openers, all_of_them=True), None, pytest.fail)
    assert archives.can_spread
    far.rename(away)

    def goes_on() -> bool:
        if away.exists():
            assert not any(acks.has(name) for name in NAMES)
            if all(has(near, name) for name in NAMES):
                away.rename(far)
                acks.ask(NAMES[0])  # somebody waits, so there is no pause
        return not all(acks.has(name) for name in NAMES)

    pusher = Pusher(acks, archives.push, jobs=2, spread=archives.spread)
    pusher.run(goes_on, idle=TOGETHER)
    assert not away.exists()  # all of it was near before anything was acknowledged
    assert all(has(far, name) for name in NAMES)


def opened(place: Path) -> Opened:
    return Opened(Repository.open(open_store(str(place)), None).cluster("main"))


def has(place: Path, name: str) -> bool:
    return opened(place).cluster.wal(GENERATION.id).has(name)


def test_one_repository_that_works_is_enough_only_if_all_must_have_it() -> None:
    one = (partial(opened, Path("/not/opened")),)
    assert not Archives(Candidates(one * 2), None, pytest.fail).can_spread
    assert not Archives(Candidates(one, all_of_them=True), None, pytest.fail).can_spread


def test_what_the_log_is_to_hear_is_said_once(pg_wal: Path) -> None:
    acks = ready(pg_wal)
    acks.say("archived elsewhere\ninstead")
    acks.say("archived elsewhere\ninstead")
    assert acks.said() == ["archived elsewhere instead"]
    assert acks.said() == []


class Side:
    """An archive in which four fetches at once are needed for one to go on."""

    def __init__(self) -> None:
        self.together = threading.Barrier(prefetch.WORKERS)

    def fetch(self, file: str) -> Iterator[bytes]:
        self.together.wait(TOGETHER)
        segment = Segment.parse(file, SIZE)
        yield segment_content(segment.number, segment)

    generation_id = GENERATION.id


def test_segments_are_fetched_side_by_side(pg_wal: Path) -> None:
    spool = Spool(str(pg_wal / "RECOVERYXLOG"), "spool")
    lock = spool.lock()
    assert lock is not None
    archives: list[WalArchive] = [Side()]  # type: ignore[list-item]
    done = Segment.parse(NAMES[0], SIZE)
    filling = threading.Thread(target=prefetch.fill, args=(archives, spool, done, 8, lock))
    filling.start()
    wait_for(lambda: spool.ready() == NAMES[1:9], what="eight segments")
    (pg_wal / "spool/lock").unlink()  # as recovery_end_command does it
    filling.join(30)
    assert not (pg_wal / "spool").exists()
    os.close(lock)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        pytest.param("", Settings("", 4, 0), id="nothing said"),
        pytest.param("archive_jobs = 9", Settings("", 9, 0), id="jobs"),
        pytest.param('archive_backlog_limit = "5GB"', Settings("", 4, 0), id="a limit alone"),
        pytest.param(
            'on_archive_failure = "protect-database"\narchive_backlog_limit = "5GB"',
            Settings("", 4, 5 << 30),
            id="protect-database",
        ),
    ],
)
def test_settings(tmp_path: Path, options: str, found: Settings) -> None:
    config = tmp_path / "pgkeep.toml"
    config.write_text(f'[repository]\nurl = "/srv"\n[clusters.main]\n{options}\n')
    call = Call("push-ahead", (), config=str(config))
    assert read_settings(call) == found._replace(config=str(config))


@pytest.mark.parametrize(
    "options",
    [
        "archive_jobs = 0",
        'on_archive_failure = "protect-database"',
        'on_archive_failure = "protect-everything"\narchive_backlog_limit = "5GB"',
        'on_archive_failure = "protect-database"\narchive_backlog_limit = "much"',
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, options: str) -> None:
    config = tmp_path / "pgkeep.toml"
    config.write_text(f'[repository]\nurl = "/srv"\n[clusters.main]\n{options}\n')
    with pytest.raises(ConfigValue):
        read_settings(Call("push-ahead", (), config=str(config)))


def test_the_new_backup_is_of_this_cluster() -> None:
    program, *words = backup_command("/etc/pgkeep/pgkeep.toml", "main")
    assert os.access(program, os.X_OK)
    assert words == ["--config", "/etc/pgkeep/pgkeep.toml", "--cluster", "main", "backup"]
