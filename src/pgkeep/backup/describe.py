"""The facts of a backup, as its manifest keeps them. Pure but for the names of owners."""

import grp
import pwd
import re
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import pgkeep
from pgkeep.backup.copied import Corruption
from pgkeep.backup.source import ClusterFacts, Started, Stopped
from pgkeep.repository.manifest.facts import Facts

_CHECKPOINT: Final = re.compile(r"^CHECKPOINT LOCATION: (\S+)", re.MULTILINE)


def describe(
    cluster_facts: ClusterFacts,
    started: Started,
    stopped: Stopped,
    *,
    corrupt: Corruption,
    owners: Iterable[tuple[int, int]],
    **more: Any,
) -> Facts:
    """Return the facts; `more` are those that are stored as they come."""
    checkpoint = _CHECKPOINT.search(stopped.backup_label)
    owners = list(owners)
    return Facts(
        generation=cluster_facts.generation,
        server_version=cluster_facts.server_version,
        timeline=started.timeline,
        start_lsn=str(started.lsn),
        stop_lsn=str(stopped.lsn),
        checkpoint_lsn=checkpoint[1] if checkpoint else "",
        started_at=started.at,
        stopped_at=stopped.at,
        backup_label=stopped.backup_label,
        tablespace_map=stopped.tablespace_map,
        settings=cluster_facts.settings,
        databases=tuple(cluster_facts.databases),
        extensions=tuple(cluster_facts.extensions),
        config_files=tuple(cluster_facts.config_files),
        users=_names({uid for uid, _ in owners}, lambda uid: pwd.getpwuid(uid).pw_name),
        groups=_names({gid for _, gid in owners}, lambda gid: grp.getgrgid(gid).gr_name),
        checksums=cluster_facts.checksums,
        corrupt=corrupt.pages,
        corrupt_pages=corrupt.count,
        source_host=socket.gethostname(),
        data_directory=cluster_facts.data_directory,
        data_directory_mode=cluster_facts.data_directory_mode,
        pgkeep_version=pgkeep.__version__,
        **more,
    )


def _names(ids: set[int], name_of: Callable[[int], str]) -> dict[str, int]:
    """Return the names of users or groups; numbers without a name are left out."""
    found = {}
    for number in sorted(ids):
        try:
            found[name_of(number)] = number
        except KeyError:
            continue
    return found
