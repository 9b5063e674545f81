"""The diary of a run: what was done when, on the terminal and in a file."""

import time
from pathlib import Path


class Journal:
    """Lines with the seconds since the beginning."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: list[str] = []
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        line = f"{self.seconds:7.1f} s  {text}"
        self.lines.append(line)
        print(line, flush=True)
        with self.file.open("a") as file:
            file.write(f"{line}\n")
