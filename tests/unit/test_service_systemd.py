"""What systemd hears of the service."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.service.systemd import Systemd
from support.simulated import Clock, Simulated, World


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The end at which systemd listens; its path has the sign that stands for another kind."""
    path = tmp_path / "user@1000"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(str(path))
        hears.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield hears


def heard(systemd: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return found


def test_states_of_the_service(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "6000000")
    config = tmp_path / "pgkeep.toml"
    config.write_text('[repository]\nurl = "/none"\n[clusters.shop]\nconninfo = "host=/nowhere"\n')
    clock = Clock(datetime(2026, 6, 1, tzinfo=UTC))
    world = World(config, tmp_path / "state", clock, Simulated(clock, lambda _: timedelta()))
    service = world.service()
    # Twice in the time after which it would be killed.
    assert service.go_on() <= 3
    assert heard(systemd) == ["WATCHDOG=1"]
    service.reload()
    service.go_on()
    reloading, ready, watchdog = heard(systemd)
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ready == "READY=1\nSTATUS=watching 1 cluster"
    assert watchdog == "WATCHDOG=1"
    service.stop()
    service.run()
    assert heard(systemd) == ["READY=1\nSTATUS=watching 1 cluster", "STOPPING=1"]


def test_a_name_without_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(f"\0{tmp_path.name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{tmp_path.name}")
        Systemd().say("READY=1", "STATUS=well")
        assert hears.recv(4096) == b"READY=1\nSTATUS=well"


def test_nobody_has_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    Systemd().say("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    Systemd().say("READY=1")
