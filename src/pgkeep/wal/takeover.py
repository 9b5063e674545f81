"""Make this server the one that archives its cluster's WAL: after a failover, or a move."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pgkeep.postgres.control import BadControlFile, read_control
from pgkeep.repository.claims.writers import read_writer, take_over, this_server
from pgkeep.repository.repository import ClusterFolder, UnknownGeneration
from pgkeep.wal.identity import ControlUnreadable


class NoServerHere(ControlUnreadable):
    """There is no data directory on this host that could archive."""

    code = "no-server-here"

    def __str__(self) -> str:
        return f"cannot take over the archive for {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return "run it on the host of the server that is to archive, or name --data-directory"


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Who archives from now on, in one repository."""

    cluster: str
    repository: str
    generation: str
    writer: str
    instead_of: str  # '' when nobody archived before
    changed: bool  # by this run

    def to_dict(self) -> dict[str, Any]:
        """Return the report as documented for --json."""
        return asdict(self)


def take_over_archive(
    folders: Sequence[ClusterFolder], data_directory: str, server_name: str
) -> list[TakenOver]:
    """Make the server with this data directory the writer in each repository.

    Raise NoServerHere, UnknownGeneration, or what the stores raise.
    """
    try:
        control = read_control(data_directory)
    except (OSError, BadControlFile) as error:
        raise NoServerHere(data_directory, getattr(error, "strerror", "") or str(error)) from error
    generation = control.generation.id
    server = this_server(data_directory, server_name)
    done = []
    for folder in folders:
        known = folder.archiving()
        if generation not in known.generation_ids:
            what = "take over the archive"
            ids = known.generation_ids
            raise UnknownGeneration(what, generation, folder.name, folder.store.url, ids)
        before = known.writers.get(generation)
        now = take_over(folder, generation, server, control.timeline)
        facts = read_writer(folder, generation, now)
        done.append(
            TakenOver(
                folder.name,
                folder.store.url,
                generation,
                str(facts.server),
                facts.instead_of,
                now != before,
            )
        )
    return done
