"""`pgkeep advise`: measured on a real cluster, and the config it writes is one that works."""

import json
import os
import pty
from pathlib import Path

from pgkeep.server.scratch import ScratchCluster
from support.clusters import only
from support.command import PGKEEP, run_pgkeep


@only(18)
def test_the_written_config_is_accepted_by_init_and_check(
    pg: ScratchCluster, tmp_path: Path
) -> None:
    before = tmp_path / "before.toml"
    repository = tmp_path / "repository"
    before.write_text(
        f"[repository]\nurl = {json.dumps(str(repository))}\n"
        f"[clusters.shop]\nconninfo = {json.dumps(pg.conninfo)}\n"
    )
    after = tmp_path / "pgkeep.toml"
    wanted = ("--rpo", "60s", "--rto", "1h", "--no-offsite", "--wal-rate", "1GB")
    made = run_pgkeep("advise", "--inspect", *wanted, "--write", after, "--json", config=before)
    report = made.ok().json
    assert report["inspection"]["major"] == 18
    assert report["inspection"]["size"] > 1 << 20
    assert report["plans"][0]["fits"]
    assert report["plans"][0]["archive_timeout"] == 30
    assert after.read_text() == report["config"]
    run_pgkeep("init", "--apply", config=after).ok()
    pg.restart()
    checked = run_pgkeep("check", config=after)
    assert checked.exit == 0, checked.stdout
    # A file that is there is never written over.
    again = run_pgkeep("advise", "--write", after, config=before)
    assert again.exit == 2
    assert "was left alone" in again.stderr


def test_on_a_terminal_it_asks_and_enter_accepts(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execv(PGKEEP, [str(PGKEEP), "--config", "none.toml", "advise", "--size", "1TB"])
    said = b""
    os.write(terminal, b"nowhere\nself\n" + b"\n" * 8)
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
    _, status = os.waitpid(process, 0)
    text = said.decode(errors="replace")
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert "How large is the cluster" not in text  # that was given
    assert "is not a valid Hosting" in text
    assert "recommended" in text


def test_methods_are_compared(tmp_path: Path) -> None:
    said = run_pgkeep("advise", "--compare", cwd=tmp_path).ok().stdout
    assert "replica (streaming)" in said
    assert "It is no backup" in said
    page = Path(__file__).parents[2] / "docs" / "choosing.md"
    methods = run_pgkeep("advise", "--compare", "--json", cwd=tmp_path).ok().json["methods"]
    for method in methods:
        assert all(value in page.read_text() for value in method.values())
