"""What a restore leaves in a directory for whoever finds it: inspect reads it."""

import json
import os
from pathlib import Path
from typing import Final

# The first file of a restore and the last one removed: while it is there, files are missing.
MARKER: Final = "pgkeep-restore-in-progress"

# How the block of settings begins that a restore appends to postgresql.auto.conf.
SETTINGS_HEADING: Final = "# pgkeep restore: "


# How the words on a marker end when the directory was not empty: it may hold what is nowhere else.
OVER: Final = ", over an older state of the cluster"


def marker_text(
    backup: str, target: str, started: str, generation: str, *, over: bool = False
) -> str:
    facts = {
        "backup": backup,
        "target": target,
        "started": started,
        "generation": generation,
        "over": over,
    }
    return json.dumps(facts) + "\n"


def generation_of_marker(directory: str | os.PathLike[str]) -> str:
    """Return which generation of a cluster is being restored there; '' when nothing tells."""
    try:
        facts = json.loads(Path(directory, MARKER).read_text())
        return str(facts["generation"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def describe_marker(directory: str | os.PathLike[str]) -> str:
    """Say in words what the marker tells; '' when there is none, never raise for its content."""
    path = Path(directory, MARKER)
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError:
        text = ""
    try:
        facts = json.loads(text)
        words = f"half-restored by pgkeep at {facts['started']} from backup {facts['backup']}"
        return words + (OVER if facts.get("over") else "")
    except (ValueError, KeyError, TypeError):
        return "half-restored by pgkeep"


def describe_settings(auto_conf: str) -> str:
    """Return what the newest restore wrote of itself into postgresql.auto.conf, or ''."""
    lines = [line for line in auto_conf.splitlines() if line.startswith(SETTINGS_HEADING)]
    return lines[-1].removeprefix(SETTINGS_HEADING) if lines else ""
