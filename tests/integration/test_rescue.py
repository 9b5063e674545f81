"""A server comes back from nothing but the repository and docs/formats/rescue.md."""

import os
import subprocess
import sys
from pathlib import Path

from pgkeep.server.scratch import ScratchCluster
from support.clusters import NewCluster
from support.pages import block
from support.restores import make_scene, read_ledger
from support.wait import wait_for


def test_a_server_without_pgkeep(
    new_cluster: NewCluster, repository_directory: Path, tmp_path: Path
) -> None:
    scene = make_scene(new_cluster, repository_directory, tmp_path)
    scene.pg.sql("CREATE DATABASE shop")
    scene.enter("a")
    backup_id = scene.backup()
    scene.enter("b")
    moment = scene.now()
    scene.enter("c")
    scene.archive()
    program, target = tmp_path / "rescue.py", tmp_path / "rescued"
    program.write_text(block("rescue.md", "The program", "python"))
    call = [sys.executable, str(program)]
    place = [str(repository_directory), "main"]
    subprocess.run([*call, "all", *place, backup_id, str(target)], check=True)

    with (target / "postgresql.auto.conf").open("a") as settings:
        settings.write("archive_mode = off\n")
        command = " ".join([*call, "wal", *place, "%f", "%p"])
        settings.write(f"restore_command = '{command}'\n")
        settings.write(f"recovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n")
    (target / "recovery.signal").touch(mode=0o600)
    if os.geteuid() == 0:
        owner = scene.pg.data_directory.stat()
        subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(target)], check=True)
    with ScratchCluster.over(scene.pg.binaries, target) as rescued:
        wait_for(lambda: not rescued.value("SELECT pg_is_in_recovery()"), what="promotion")
        assert read_ledger(rescued) == "a b"
        assert rescued.value("SELECT count(*) FROM pg_database WHERE datname = 'shop'") == 1
