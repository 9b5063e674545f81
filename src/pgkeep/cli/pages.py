"""Pages that are written to files."""

import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write a file; readers see the old one or the whole new one. Raise OSError."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())  # it is for the day on which this host dies
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
