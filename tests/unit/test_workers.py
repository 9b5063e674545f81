"""Worker processes: what is said when the system has no room for them."""

import os
import resource
import subprocess
import sys

import pytest

from pgkeep.workers.pool import enough_workers

PROGRAM = """
import os, resource
from pgkeep.workers.pool import enough_workers, make_pool

class Refused(Exception):
    pass

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
    pool = make_pool(16, print)
    try:
        with enough_workers(16, Refused):
            for _ in range(16):
                pool.submit(os.getpid)
    except Refused as refused:
        print(*refused.args, sep="|", flush=True)
        os._exit(3)
"""


def test_too_few_files_for_workers_is_said_with_the_limit_to_raise() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.strip() == (
        "16 worker processes could not be started: too many open files"
        "|raise the limit (ulimit -n, ulimit -u), or give fewer --jobs"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 24


def test_other_refusals_pass() -> None:
    with pytest.raises(FileNotFoundError), enough_workers(2, ValueError):
        os.stat("/nowhere")
