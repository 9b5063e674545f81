"""The first config, for who has none."""

import stat
import tomllib
from pathlib import Path

import pytest

from pgkeep.config.whole import read_config
from pgkeep.setup.starter import Starter, StarterRefused, starter_text, write_starter


def starter(conninfo: str = "", *, encrypted: bool = False, cluster: str = "main") -> Starter:
    return Starter(conninfo, "/srv/backups", cluster, encrypted=encrypted)


@pytest.mark.parametrize("cluster", ["main", "a.b", "shop-2"])
def test_it_is_a_config_that_pgkeep_accepts(cluster: str) -> None:
    conninfo = 'host="/tmp/a b" dbname=postgres'
    text = starter_text(starter(conninfo, cluster=cluster))
    config = read_config(tomllib.loads(text), "f", text)
    assert config.repository[0].url == "/srv/backups"
    assert config.clusters[cluster].conninfo.reveal() == conninfo
    assert config.clusters[cluster].schedule.backup == "daily 02:00"


def test_with_encryption_a_passphrase_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = Path(write_starter(str(tmp_path / "pgkeep.toml"), starter(encrypted=True)))
    secret = tmp_path / "pgkeep.passphrase"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_text().strip()) >= 32
    assert secret.read_text().strip() not in path.read_text()


def test_a_config_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pgkeep.toml"
    path.write_text("mine")
    with pytest.raises(StarterRefused) as caught:
        write_starter(str(path), starter())
    assert str(caught.value) == (
        f"cannot write the config {path}: there is one already, which was left alone"
    )
    assert path.read_text() == "mine"


@pytest.mark.parametrize("conninfo", ["password=hunter2 host=x", "postgresql://u:hunter2@h/db"])
def test_no_password_is_taken_from_a_command_line(tmp_path: Path, conninfo: str) -> None:
    with pytest.raises(StarterRefused) as caught:
        write_starter(str(tmp_path / "pgkeep.toml"), starter(conninfo))
    assert "hunter2" not in str(caught.value) + caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_passphrase_at_hand_is_kept_for_the_server_too(tmp_path: Path) -> None:
    config = str(tmp_path / "pgkeep.toml")
    write_starter(config, Starter("", "", "main", encrypted=True, passphrase="correct horse"))
    assert (tmp_path / "pgkeep.passphrase").read_text() == "correct horse\n"


def test_another_passphrase_than_the_one_at_hand_is_not_passed_over(tmp_path: Path) -> None:
    config = str(tmp_path / "pgkeep.toml")
    (tmp_path / "pgkeep.passphrase").write_text("older\n")
    with pytest.raises(StarterRefused, match="another passphrase"):
        write_starter(config, Starter("", "", "main", encrypted=True, passphrase="newer"))
    assert not (tmp_path / "pgkeep.toml").exists()
