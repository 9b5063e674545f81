"""A short run of `make torture`, and the proof that its judge bites. docs/testing.md has more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgkeep.server.binaries import Binaries
from support.clusters import only
from torture.__main__ import torture
from torture.bites import FAULTS, Prepared, complaint, nothing, prepare
from torture.journal import Journal
from torture.setting import Setting
from torture.world import World


@only(18)
def test_a_short_run_finds_nothing(postgres_version: int, tmp_path: Path) -> None:
    assert torture(Setting.chosen(3, postgres_version), tmp_path, 25)


@pytest.fixture
def prepared(binaries: Binaries, postgres_version: int, tmp_path: Path) -> Iterator[Prepared]:
    setting = Setting.chosen(5, postgres_version)
    world = World(setting, binaries, tmp_path, Journal(tmp_path / "diary.txt"))
    try:
        world.begin()
        yield prepare(world)
    finally:
        world.close(keep=False)


@only(17)
def test_the_judge_notices_every_fault(prepared: Prepared) -> None:
    assert complaint(prepared, nothing) == ""
    told = {name: complaint(prepared, spoil, to) for name, (spoil, to) in FAULTS.items()}
    print("\n".join(f"{name}: {words[:200]}" for name, words in told.items()))
    assert [name for name, words in told.items() if not words] == []
    assert "lost" in told["a WAL segment is left out"]
    assert "1 lost" in told["recovery stops one commit early"]
