"""What routes take: who asks, for what right, and names that fit."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import Body, Depends, Path, Request
from pydantic import BaseModel, ConfigDict

from pgkeep.api.acting import require
from pgkeep.api.errors import TooBusy
from pgkeep.api.parts import READERS, Parts
from pgkeep.api.sessions import Caller, current_caller

_CLUSTER: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
_ID: Final = r"^D?[0-9]{8}T[0-9]{6}(\.[0-9]{6})?Z-[0-9a-f]{4,16}$"
_JOB: Final = r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{8}$"
_USER: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$"
_PATIENCE_S: Final = 1.0

Cluster = Annotated[str, Path(pattern=_CLUSTER, description="As [clusters.NAME] calls it.")]
Id = Annotated[str, Path(pattern=_ID, description="Of a backup or dump, in full.")]
JobId = Annotated[str, Path(pattern=_JOB)]
UserName = Annotated[str, Path(pattern=_USER)]
Confirm = Annotated[str, Body(embed=True, max_length=63, description="The cluster's name, typed.")]


class Asked(BaseModel):
    """A body: what is not in it is refused, so that a typing error is not passed over."""

    model_config = ConfigDict(extra="forbid", str_max_length=4096)


def _parts(request: Request) -> Parts:
    found: Parts = request.app.state.pgkeep
    return found


def _caller(request: Request) -> Caller:
    return current_caller(request)


Shared = Annotated[Parts, Depends(_parts)]
Who = Annotated[Caller, Depends(_caller)]


def needs(act: str, *, reads: bool = False) -> dict[str, Any]:
    """Return what a route is declared with, so that only who may do the act gets to it.

    `reads`: it reads repositories, which can take as long as they are away.
    """

    def check(request: Request) -> None:
        if act in ("look", "start"):  # of a start, the command itself decides
            require(current_caller(request), "look")
        else:
            _parts(request).acting.permit(current_caller(request), act)

    dependencies = [Depends(check), *([Depends(_one_of_few)] if reads else [])]
    return {"dependencies": dependencies, "openapi_extra": {"x-pgkeep-act": act}}


def _one_of_few(request: Request) -> Iterator[None]:
    """Be one of the few that read repositories. Raise TooBusy."""
    readers = _parts(request).readers
    if not readers.acquire(timeout=_PATIENCE_S):
        why = f"{READERS} requests wait for the repositories already"
        raise TooBusy("read the repository", why, "look at health: it tells which one is away")
    try:
        yield
    finally:
        readers.release()
