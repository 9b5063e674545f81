"""A new backup or dump in all repositories that are to have it: `write` in pgkeep.toml."""

from typing import TYPE_CHECKING, Any, NamedTuple

from pgkeep.cli.context import Context, error_facts, say_problem
from pgkeep.cli.text import safe
from pgkeep.errors import PgkeepError

if TYPE_CHECKING:
    from pgkeep.places import Place
    from pgkeep.replicate.plan import Only
    from pgkeep.repository.repository import ClusterFolder

_JOBS = 4  # threads: each waits for the network or a disk most of the time


class Elsewhere(NamedTuple):
    """What became of it in one of the other repositories."""

    repository: str
    error: PgkeepError | None

    def to_dict(self) -> dict[str, Any]:
        return {"repository": self.repository, "error": error_facts(self.error)}


def to_the_others(
    context: Context, place: "Place", folder: "ClusterFolder", id: str, census: str = ""
) -> list[Elsewhere]:
    """Copy what is complete in `folder` to the other repositories; nothing when none must have it.

    `census` goes with a backup.

    It is read from the repository: the server is read once. What fails is told, never raised: it is
    safe where it is.
    """
    from pgkeep.replicate.plan import Only

    others = [other for other in places(context, place) if other.address != place.address]
    only = Only(id, census)
    return [Elsewhere(other.title, _copy(context, folder, other, only)) for other in others]


def places(context: Context, place: "Place") -> list["Place"]:
    """Return all repositories that are to have what was made in `place`."""
    app = context.app
    everywhere = app.config.write and context.repository is None
    return list(app.writing) if everywhere else [place]


def text(done: list[Elsewhere]) -> str:
    """Say in which other repositories it is, below the report."""
    there = [safe(one.repository) for one in done if one.error is None]
    return f"\nalso in repository {' and '.join(there)}" if there else ""


def tell(done: list[Elsewhere]) -> int:
    """Say in which repositories it is missing; return the exit status."""
    status = 0
    for one in done:
        said = say_problem(one.error)
        status = status or said
    return status


def _copy(
    context: Context, folder: "ClusterFolder", other: "Place", only: "Only"
) -> PgkeepError | None:
    from pgkeep.replicate.copy import CopyOptions, run

    options = CopyOptions(jobs=_JOBS, choose=lambda: only)
    context.progress.phase(f"copying {only.id} to repository {other.title}")
    try:
        target = other.open().cluster(folder.name)
        return run(folder, target, options, context.progress).problem
    except PgkeepError as error:
        return MissingElsewhere(only.id, folder.store.url, other.title, str(error))


class MissingElsewhere(PgkeepError):
    """A new backup or dump is not in all repositories that are to have it."""

    code = "missing-elsewhere"
    exit_status = 238

    id: str
    there: str
    repository: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.id} is complete in {self.there}, but not in repository {self.repository}: "
            f"{self.why}"
        )

    @property
    def hint(self) -> str:
        return f"once that is mended: pgkeep copy --to {self.repository}"
