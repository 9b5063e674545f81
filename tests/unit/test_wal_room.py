"""How long until a server stops for want of room."""

from pathlib import Path

import pytest

from pgkeep.model.wal_room import WalRoom, wal_rate
from pgkeep.server.pg_wal import look_at_pg_wal
from pgkeep.setup.verdicts import State, of_wal_room
from pgkeep.units import GIB, MIB

NOW = 1e9


@pytest.mark.parametrize(
    ("ages", "per_hour"),
    [
        pytest.param([], 0, id="no WAL"),
        pytest.param([4000, 5000], 0, id="long ago"),
        pytest.param([3000, 2000, 1000, 500], 4, id="four in the last hour"),
        pytest.param([10, 20, 30], 36, id="a load that began now"),
        pytest.param([-10], 0, id="in the future"),
    ],
)
def test_the_rate_is_the_faster_of_lately_and_just_now(ages: list[int], per_hour: int) -> None:
    rate = wal_rate([NOW - age for age in ages], MIB, NOW)
    assert round(rate * 3600 / MIB, 6) == per_hour


@pytest.mark.parametrize(
    ("room", "state", "says"),
    [
        pytest.param(
            WalRoom(0, 0, 10 * GIB, 0.0),
            State.OK,
            "0 files (0 B) wait to be archived; 10 GiB are free beside pg_wal",
            id="idle",
        ),
        pytest.param(
            WalRoom(1, 16 * MIB, 10 * GIB, GIB / 3600),
            State.OK,
            "1 file (16 MiB) waits to be archived; 10 GiB are free beside pg_wal, full in 10 h "
            "at 1 GiB of WAL an hour",
            id="keeps up",
        ),
        pytest.param(WalRoom(50, 800 * MIB, 10 * GIB, GIB / 3600), State.NOTE, "", id="behind"),
        pytest.param(WalRoom(50, 800 * MIB, 2 * GIB, GIB / 3600), State.FAILED, "", id="short"),
        pytest.param(WalRoom(50, 800 * MIB, 2 * GIB, 0.0), State.NOTE, "", id="no more comes"),
    ],
)
def test_the_warning_comes_early(room: WalRoom, state: State, says: str) -> None:
    verdict = of_wal_room(room)
    assert verdict.state is state
    assert verdict.says == (says or str(room))


def test_pg_wal_is_looked_at(tmp_path: Path) -> None:
    assert look_at_pg_wal(str(tmp_path)) is None
    status = tmp_path / "pg_wal/archive_status"
    status.mkdir(parents=True)
    for number, end in enumerate(("done", "ready", "ready"), start=1):
        name = f"{1:08X}{0:08X}{number:08X}"
        (tmp_path / "pg_wal" / name).write_bytes(bytes(MIB))
        (status / f"{name}.{end}").touch()
    (status / f"{'0' * 23}9.ready").touch()  # an orphan
    (tmp_path / "pg_wal" / f"{'0' * 7}1{'0' * 15}4").write_bytes(bytes(MIB))  # for later
    found = look_at_pg_wal(str(tmp_path))
    assert found is not None
    assert (found.waiting, found.waiting_size) == (3, 2 * MIB)
    assert found.rate == 3 * MIB / 300
