"""`pgkeep copy` and `pgkeep verify --repair` as commands: named repositories, secrets, kill -9."""

import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Key, WrongKey
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.open import make_store, open_store
from support.command import PGKEEP, Result, run_pgkeep
from support.copies import common
from support.small_repository import Small
from support.wait import wait_for

NEAR, FAR = "correct horse battery", "another battery staple"


class Places:
    """A repository, a place for its copy, and a config that names both."""

    def __init__(self, folder: Path, *, encrypted: bool = False, megabytes: int = 0) -> None:
        self.near, self.far = folder / "near", folder / "far"
        self.config = folder / "pgkeep.toml"
        self.files = {"near": folder / "near.secret", "far": folder / "far.secret"}
        made = Repository.create(
            make_store(str(self.near)), "passphrase" if encrypted else "none",
            NEAR if encrypted else None,
        )  # fmt: skip
        small = Small(made.store, made.key, repository_id=made.id).begin()
        small.archive()
        chance = random.Random(7)
        large = {f"base/5/{n}": chance.randbytes(1 << 20) for n in range(megabytes)}
        self.first = small.backup({"base/5/16384": b"one" * 9000, **large}, packs=2 + megabytes)
        small.archive(2)
        self.small = small
        parts = []
        for name, secret in (("near", NEAR), ("far", FAR)):
            self.files[name].write_text(secret + "\n")
            self.files[name].chmod(0o600)
            parts.append(f'[[repository]]\nname = "{name}"\nurl = "{folder / name}"\n')
            if encrypted:
                parts.append(f'encryption = "passphrase"\npassphrase_file = "{self.files[name]}"\n')
        self.config.write_text("\n".join(parts))

    @property
    def store(self) -> Store:
        return open_store(str(self.far))

    def run(self, *words: str | Path, **more: Any) -> Result:
        return run_pgkeep(*words, config=self.config, **more)

    def demand_complete(self) -> None:
        assert common(self.store) == common(self.small.store)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_a_copy_is_made_filled_and_kept_up(places: Places) -> None:
    shown = places.run("copy", "--to", "far", "--dry-run").ok()
    assert "dry run: nothing was sent" in shown.stdout
    assert not places.far.exists(), "a dry run makes nothing"
    done = places.run("copy", "--to", "far").ok()
    assert f"made a copy in {places.far}" in done.stdout
    assert f"new there: {places.first}" in done.stdout
    places.demand_complete()
    assert "everything was there" in places.run("copy", "--to", "far").ok().stdout
    second = places.small.backup({"base/5/16384": b"two" * 9000})
    told = places.run("copy", "--to", "far", "--json", "--verify").ok().json
    (cluster,) = told["clusters"]
    assert (told["created"], told["recovery_key"], told["error"]) == (False, None, None)
    assert (cluster["listed"], cluster["verified"]) == ([second], True)
    assert cluster["objects"] == {
        "generation": 0, "writer": 0, "lost": 0, "history": 0, "pack": 1, "wal": 1, "manifest": 1,
        "pin": 0, "census": 0, "drill": 0, "act": 0,
    }  # fmt: skip
    places.demand_complete()
    listed = places.run("--repository", "far", "list", "--json").ok().json
    assert [backup["id"] for backup in listed["backups"]] == [places.first, second]


def test_an_encrypted_copy_opens_with_its_own_secrets_only(tmp_path: Path) -> None:
    places = Places(tmp_path, encrypted=True)
    done = places.run("copy", "--to", "far").ok()
    (recovery,) = re.findall(r"PGKEEP-[0-9A-Z-]{60,}", done.stdout)
    places.demand_complete()
    for secret in (FAR, recovery):
        assert isinstance(Repository.open(places.store, secret).key, Key)
    with pytest.raises(WrongKey):
        Repository.open(places.store, NEAR)
    everything = done.stdout + done.stderr
    assert NEAR not in everything
    assert FAR not in everything


def test_addresses_and_passphrase_files_do_without_a_config(tmp_path: Path) -> None:
    places = Places(tmp_path, encrypted=True)
    words: list[str | Path] = ["copy", "--from", places.near, "--to", places.far]
    words += ["--from-passphrase-file", places.files["near"]]
    run_pgkeep(*words, "--to-passphrase-file", places.files["far"], cwd=tmp_path / "near").ok()
    places.demand_complete()
    assert Repository.open(places.store, FAR).key is not None


def test_what_is_no_place_for_a_copy_is_refused(places: Places, tmp_path: Path) -> None:
    same = places.run("copy", "--to", places.near)
    assert same.exit == 97
    assert same.stderr.splitlines() == [
        f"error: cannot copy from {places.near} to {places.near}: both are one and the same place",
        "hint: a copy needs a place of its own: --to ADDRESS",
        "code: copy-refused, exit status 97",
    ]
    other = Repository.create(make_store(str(tmp_path / "other")), "none", None)
    refused = places.run("copy", "--to", other.store.url)
    assert (refused.exit, "another-repository" in refused.stderr) == (97, True)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/photo.jpg").write_bytes(b"sea")
    assert places.run("copy", "--to", tmp_path / "taken").exit == 44


def test_a_secret_for_a_repository_in_the_clear_is_refused(places: Places) -> None:
    """The config expects an encrypted copy; a copy of this one would not be."""
    text = places.config.read_text()
    more = f'encryption = "passphrase"\npassphrase_file = "{places.files["far"]}"\n'
    places.config.write_text(text + more)
    assert places.run("copy", "--to", "far").exit == 39
    assert not list(places.far.iterdir())


def test_damage_at_the_source_makes_it_fail_and_the_copy_heals_the_source(places: Places) -> None:
    places.run("copy", "--to", "far").ok()
    second = places.small.backup({"base/5/16384": b"two" * 9000})
    (pack,) = {path for path in places.near.rglob("packs/*/*") if not _in(places.far, path)}
    before = common(places.small.store)
    intact = pack.read_bytes()
    pack.write_bytes(b"X" + intact[1:])
    failed = places.run("copy", "--to", "far")
    assert failed.exit == 97
    assert "1 object could not be copied" in failed.stdout
    assert failed.stderr.splitlines()[-1] == "code: copy-incomplete, exit status 97"
    assert second not in places.run("--repository", "far", "list").ok().stdout
    pack.write_bytes(intact)
    places.run("copy", "--to", "far").ok()
    pack.write_bytes(b"X" + intact[1:])
    os.unlink(next(places.near.rglob(f"wal/*/*/*/{'0' * 7}1{'0' * 14}08")))
    assert places.run("verify", "--level", "bytes").exit == 230
    healed = places.run("verify", "--level", "bytes", "--repair").ok()
    assert "2 faults found, 2 objects healed" in healed.stdout
    assert f"healed from {places.far}" in healed.stdout
    assert common(places.small.store) == before
    places.run("verify", "--level", "bytes").ok()


def _in(far: Path, path: Path) -> bool:
    return any(far.rglob(path.name))


def test_repair_needs_another_copy(tmp_path: Path) -> None:
    places = Places(tmp_path)
    alone = run_pgkeep("--repository", places.near, "verify", "--repair", cwd=tmp_path / "near")
    assert alone.exit == 2
    assert "needs another copy of the repository" in alone.stderr
    assert places.run("verify", "--from", "far").exit == 2


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Places, "subprocess.Popen[bytes]"]]:
    """A copy that would take many seconds, some packs of which have arrived."""
    places = Places(tmp_path, megabytes=8)
    command = [str(PGKEEP), "--config", str(places.config), "copy", "--to", "far"]
    command += ["--rate", "2MB/s", "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: len(list(places.far.rglob("packs/*/*"))) > 2, what="some packs")
            yield places, process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_copy_that_is_ended_goes_on_where_it_was(
    slow: tuple[Places, "subprocess.Popen[bytes]"], number: signal.Signals
) -> None:
    places, process = slow
    process.send_signal(number)
    process.wait(30)
    assert not list(places.far.rglob("manifest"))
    arrived = {path.name: path.stat().st_mtime_ns for path in places.far.rglob("packs/*/*")}
    again = places.run("copy", "--to", "far").ok()
    assert "took over" in again.stdout or number is not signal.SIGKILL
    left = {path.name: path.stat().st_mtime_ns for path in places.far.rglob("packs/*/*")}
    assert arrived.items() <= left.items(), "nothing is sent twice"
    places.demand_complete()
    places.run("--repository", "far", "verify", "--level", "bytes").ok()
