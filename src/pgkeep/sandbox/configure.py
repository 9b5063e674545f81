"""Puts a sandbox's own configuration in place of the source's."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pgkeep.model.target import Action
from pgkeep.postgres.conf import append_settings
from pgkeep.postgres.control import read_control
from pgkeep.repository.manifest.facts import Facts
from pgkeep.sandbox.settings import Decided, Here, Source, decide

_HEADING: Final = "written by pgkeep for a sandbox, in place of the source's"
# Nobody but the owner gets into the socket's directory, and no other way leads here.
_HBA: Final = "local all all trust\n"


def configure(
    directory: Path, facts: Facts, here: Here, action: Action, more: Mapping[str, str]
) -> Decided:
    """Decide the configuration of a restored data directory and write it."""
    source = _source(directory, facts)
    decided = decide(source, here, action, more)
    # The last of them is read last: emptied, it cannot bring back what was left out.
    write_settings(directory, decided.settings)
    _write(directory / "pg_hba.conf", _HBA)
    _write(directory / "pg_ident.conf", "")
    _write(directory / "postgresql.auto.conf", "")
    return decided


def write_settings(directory: Path, settings: Mapping[str, str]) -> None:
    """Write postgresql.conf. Raise BadSetting."""
    _write(directory / "postgresql.conf", append_settings("", settings, _HEADING))


def _source(directory: Path, facts: Facts) -> Source:
    control = read_control(str(directory))
    return Source(
        control.major,
        _read(directory / "postgresql.conf"),
        _read(directory / "postgresql.auto.conf"),
        facts.settings,
        {
            name: getattr(control, name)
            for name in (
                "max_connections",
                "max_worker_processes",
                "max_wal_senders",
                "max_prepared_transactions",
                "max_locks_per_transaction",
            )
        },
        control.segment_size,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    """Replace a file: never write through a link that the source had."""
    owner = path.parent.stat()
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)
