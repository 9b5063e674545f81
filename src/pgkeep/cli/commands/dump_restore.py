"""Logical backups: restore. Filled in by whoever writes it."""

import typer


def register(dump: typer.Typer) -> None:
    """Add the commands to `pgkeep dump`."""
