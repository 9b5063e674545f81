"""Writes a pgkeep.toml where none is, or over one that may go."""

import os
from pathlib import Path

import typer

from pgkeep.cli.pages import write_whole


def write_config(path: str, text: str, *, force: bool) -> None:
    """Write a whole file or none. Raise BadParameter where that cannot be."""
    target = Path(path)
    try:
        if force:
            write_whole(target, text)
        else:
            _create(target, text)
    except FileExistsError:
        why = f"{path} is there already, and was left alone: name another, or --force"
        raise typer.BadParameter(why) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise typer.BadParameter(f"{path} cannot be written: {why}") from None


def _create(target: Path, text: str) -> None:
    """Write beside it and link: whoever comes first has the name, and has all of it."""
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        write_whole(beside, text)
        os.link(beside, target)
    finally:
        beside.unlink(missing_ok=True)
