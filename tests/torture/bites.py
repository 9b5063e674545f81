"""Spoils restores that were right, in ways that no checksum shows: the judge must notice each.

A cluster is prepared by hand: one full backup, changes, one incremental backup, and a little more.
What is spoiled is the restored directory, as a fault of pgkeep would have left it.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup
from pgkeep.repository import catalog
from pgkeep.server.instance import ServerProcess
from pgkeep.server.scratch import ScratchCluster
from support.backups import contents
from support.ledger import Shot, examine
from support.ledger_script import Identity
from support.load_writers import HeldOpen
from torture.shed import fingerprint
from torture.world import World

PAGE = 8192
FILES = ("bank.ledger", "bank.accounts", "shed.cut")


@dataclass(frozen=True)
class Prepared:
    """What there is to spoil."""

    world: World
    full: Backup
    incremental: Backup
    paths: dict[str, str]  # of tables, in the data directory
    before: dict[str, bytes]  # the files as the full backup has them
    after: dict[str, bytes]
    segment: str  # one that a restore to the end needs
    last: str  # where the last commit before `target` begins
    target: str  # an LSN soon after the incremental


Spoil = Callable[[Prepared, Path], None]


def prepare(world: World) -> Prepared:
    """Run the load, then go on quietly, so that every page's fate is known."""
    pg = world.pg
    world.load.wait_for(100)
    world.stop_load()
    world.settle()
    pg.sql("ALTER SYSTEM SET autovacuum = off")
    pg.sql("SELECT pg_reload_conf()")
    pg.sql("CREATE TABLE shed.cut (id int PRIMARY KEY, version int, body text)")
    pg.sql(
        "INSERT INTO shed.cut SELECT i, 0, repeat(md5(i || ':' || 0), 1 + i % 40)"
        " FROM generate_series(1, 2000) i"
    )
    _enter(world, 0, 150)
    full = _back_up(world, "full")
    world.start_load()
    world.load.wait_for(40)
    world.stop_load()
    world.settle()
    _enter(world, 150, 190)
    pg.sql("DELETE FROM shed.cut WHERE id > 500")
    pg.sql("VACUUM (TRUNCATE) shed.cut")
    pg.sql("CHECKPOINT")
    incremental = _back_up(world, "incremental")
    _enter(world, 190, 192)
    target = str(pg.value("SELECT pg_current_wal_insert_lsn()::text"))
    _enter(world, 192, 194)
    segment = pg.switch_wal()
    for seq in range(194, 198):
        _enter(world, seq, seq + 1)
        segment = segment if seq < 196 else pg.switch_wal()
    world.archive()
    paths = {name: str(pg.value("SELECT pg_relation_filepath(%s)", name)) for name in FILES}
    folder = world.bank.scene.folder
    before, after = contents(folder, full.id), contents(folder, incremental.id)
    history = world.history()
    events = history.replayed(
        Shot(f"lsn:{target}", inclusive=False).recovery, incremental.start_lsn, incremental.stop_lsn
    )
    assert events is not None
    last = str([event.lsn for event in events if event.ends][-1])
    return Prepared(world, full, incremental, paths, before, after, segment, last, target)


def _enter(world: World, start: int, end: int) -> None:
    for seq in range(start, end):
        HeldOpen(world.pg, world.bank.load, Identity(90, seq + 1)).end("COMMIT")
    world.pg.sql("SELECT count(payload) FROM bank.ledger")  # sets hint bits now, not later
    world.pg.sql("CHECKPOINT")


def _back_up(world: World, kind: str) -> Backup:
    made = world.commands.run("backup", "--type", kind, "--json").ok().json
    assert made["type"] == kind
    return next(backup for backup in world.backups() if backup.id == made["id"])


def _put(place: Path, path: str, position: int, content: bytes) -> None:
    with (place / path).open("r+b") as file:
        file.seek(position)
        file.write(content)


def nothing(_prepared: Prepared, _place: Path) -> None:
    """Leave it as it is."""


def drop_overlay_page(prepared: Prepared, place: Path) -> None:
    """Leave the parent's page where the incremental has its own, in the table that grew."""
    path = prepared.paths["bank.ledger"]
    tables = catalog.read_manifest(prepared.world.bank.scene.folder, prepared.incremental.id).tables
    assert tables.overlaid().size, "nothing was stored as overlays"
    before, after = prepared.before[path], prepared.after[path]
    changed = [n for n in range(0, len(before), PAGE) if before[n:][:PAGE] != after[n:][:PAGE]]
    _put(place, path, changed[-1], before[changed[-1] :][:PAGE])


def lose_new_page(prepared: Prepared, place: Path) -> None:
    """A page that is new since the parent holds nothing."""
    path = prepared.paths["bank.ledger"]
    _put(place, path, len(prepared.before[path]), bytes(PAGE))


def age_page(prepared: Prepared, place: Path) -> None:
    """A page as it was at the full backup, which nobody touched after the incremental."""
    path = prepared.paths["bank.accounts"]
    before, after = prepared.before[path], prepared.after[path]
    assert before != after
    changed = [n for n in range(0, len(before), PAGE) if before[n:][:PAGE] != after[n:][:PAGE]]
    _put(place, path, changed[0], before[changed[0] :][:PAGE])


def keep_truncated(prepared: Prepared, place: Path) -> None:
    """A file that was cut, as it was before."""
    path = prepared.paths["shed.cut"]
    assert len(prepared.after[path]) < len(prepared.before[path])
    (place / path).write_bytes(prepared.before[path])


def keep_tail(prepared: Prepared, place: Path) -> None:
    """The new pages of a file that was cut, and behind them its old end."""
    path = prepared.paths["shed.cut"]
    size = len(prepared.after[path])
    _put(place, path, size, prepared.before[path][size:])


def omit_segment(prepared: Prepared, place: Path) -> None:
    """The restore command says of one segment that there is none."""
    file = place / "postgresql.auto.conf"
    text = file.read_text()
    (command,) = re.findall(r"^restore_command = '(.*)'$", text, re.MULTILINE)
    file.write_text(
        f"{text}\nrestore_command = '[ %f = {prepared.segment} ] && exit 1; {command}'\n"
    )


def stop_early(prepared: Prepared, place: Path) -> None:
    """Recovery ends before the last commit."""
    with (place / "postgresql.auto.conf").open("a") as file:
        file.write(f"\nrecovery_target_lsn = '{prepared.last}'\n")
        file.write("recovery_target_inclusive = 'off'\n")


FAULTS: dict[str, tuple[Spoil, str]] = {
    "a page of an incremental backup is left out": (drop_overlay_page, "target"),
    "a new page is empty": (lose_new_page, "target"),
    "a page is as old as the parent": (age_page, "target"),
    "a truncated file is taken from the parent": (keep_truncated, "target"),
    "a truncated file has its old end": (keep_tail, "target"),
    "a WAL segment is left out": (omit_segment, "latest"),
    "recovery stops one commit early": (stop_early, "target"),
}


def complaint(prepared: Prepared, spoil: Spoil, to: str = "target") -> str:
    """Restore, spoil, start and judge; return what the judge says, '' when it is content."""
    world = prepared.world
    shot = Shot("latest") if to == "latest" else Shot(f"lsn:{prepared.target}", inclusive=False)
    place = _restored(prepared, shot)
    spoil(prepared, place)
    restored = ScratchCluster.over(world.pg.binaries, place)
    restored.environment = dict(world.secret)
    restored.create()
    try:
        _judge(prepared, restored, shot)
    except (AssertionError, PgkeepError, psycopg.Error) as noticed:
        return f"{type(noticed).__name__}: {noticed}"
    finally:
        server = ServerProcess.attach(place, log_file=f"{place}.log")
        if server is not None:
            server.kill()
        restored.destroy()
    return ""


def _restored(prepared: Prepared, shot: Shot) -> Path:
    """Return a fresh restore: of each target there is one, of which copies are made."""
    world = prepared.world
    place, space = world.directory / "restored0", world.directory / "restored0.space"
    for used in (place, space):
        shutil.rmtree(used, ignore_errors=True)
    pristine = world.directory / f"pristine-{shot.to.partition(':')[0]}"
    if not pristine.exists():
        words = ["restore", prepared.incremental.id, "--to", shot.to, "--target-dir", str(place)]
        words += ["--tablespace", f"{world.space}={space}"]
        words += [] if shot.inclusive else ["--exclusive"]
        world.commands.run(*words).ok()
        shutil.copytree(place, pristine / "data", symlinks=True)
        shutil.copytree(space, pristine / "space", symlinks=True)
        return place
    shutil.copytree(pristine / "data", place, symlinks=True)
    shutil.copytree(pristine / "space", space, symlinks=True)
    return place


def _judge(prepared: Prepared, restored: ScratchCluster, shot: Shot) -> None:
    world, backup = prepared.world, prepared.incremental
    history = world.history()
    events = history.replayed(shot.recovery, backup.start_lsn, backup.stop_lsn)
    assert events is not None
    restored.start()
    world.wait_promoted(restored)
    _, wrong = fingerprint(restored)
    assert not wrong, "; ".join(wrong)
    world.bank.judge_running(restored, shot, history, events)
    examine(restored)
