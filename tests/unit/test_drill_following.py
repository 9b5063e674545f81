"""Programs that tell how far they are: heard to the end, and never outliving who hears them."""

import sys

import pytest

from pgkeep.drill.looking.following import follow
from pgkeep.server.processes import Process
from support.wait import wait_for

TALK = """
import sys
sys.stderr.write("1/2 done\\r2/2 done\\n"); sys.stderr.write("wrong: \\u00e4\\n"); sys.exit(2)
"""


def test_progress_is_told_apart_from_what_is_said() -> None:
    seen: list[str] = []

    def line(text: str) -> bool:
        seen.append(text)
        return text.endswith("done")

    said = follow([sys.executable, "-c", TALK], {"PYTHONIOENCODING": "utf-8"}, line)
    assert (said.status, said.output, said.last) == (2, ("wrong: ä",), "wrong: ä")
    assert seen == ["1/2 done", "2/2 done", "wrong: ä"]
    assert said.having("wrong") == ["wrong: ä"]


def test_a_program_that_cannot_be_run_says_so() -> None:
    said = follow(["/dev/null"], {}, lambda _: False)
    assert (said.status, said.last) == (127, "it cannot be run: Permission denied")


def test_a_program_ends_with_whoever_hears_it() -> None:
    pids: list[int] = []

    def line(text: str) -> bool:
        pids.append(int(text))
        raise InterruptedError

    script = "import os, time; print(os.getpid(), flush=True); time.sleep(500)"
    with pytest.raises(InterruptedError):
        follow([sys.executable, "-c", script], {}, line)
    wait_for(lambda: Process.find(pids[0]) is None, what="the program to end")
