"""The service itself: its settings, and whether it lives."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Response
from msgspec import to_builtins

from pgkeep import __version__
from pgkeep.api.routes.asked import Shared, needs
from pgkeep.config.shown import without_secrets
from pgkeep.health.metrics import CONTENT_TYPE, Ran
from pgkeep.health.metrics import metrics as write_metrics
from pgkeep.service.board import Board
from pgkeep.service.jobs.job import JobState

router = APIRouter(tags=["service"])
# What somebody stopped has told nothing about the next run.
_TELLING: Final = (JobState.DONE, JobState.NO, JobState.FAILED, JobState.TIMED_OUT)
_RECENT: Final = 200  # runs of a cluster in which the newest of each kind is looked for


@router.get("/healthz")
def healthz() -> dict[str, Any]:
    """Tell that the service answers: for whoever starts it again when it does not. No log-in."""
    return {"ok": True}


@router.get("/metrics", response_class=Response, **needs("look"))
def metrics(shared: Shared) -> Response:
    """Return the metrics of all clusters, as Prometheus reads them."""
    board = shared.board
    found = [health for name in board.clusters() if (health := board.health(name)) is not None]
    return Response(write_metrics(found, _ran(board), datetime.now(UTC)), media_type=CONTENT_TYPE)


@router.get("/api/version", **needs("look"))
def version() -> dict[str, Any]:
    """Return which pgkeep this is."""
    return {"version": __version__}


@router.get("/api/settings", **needs("settings"))
def settings(shared: Shared) -> dict[str, Any]:
    """Return every option with its origin: the config file, or the default. Secrets are hidden."""
    loaded = shared.board.config
    given = without_secrets(loaded.table)
    whole = without_secrets(to_builtins(loaded.config, enc_hook=str))
    return {"file": loaded.file, "settings": _with_origin(whole, given)}


def _ran(board: Board) -> Iterator[Ran]:
    for name in board.clusters():
        for run in board.jobs(name, _RECENT):
            if run.state in _TELLING and run.began_at is not None and run.ended_at is not None:
                good = run.state is JobState.DONE
                seconds = (run.ended_at - run.began_at).total_seconds()
                yield Ran(name, run.job.kind, good, seconds, run.ended_at)


def _with_origin(whole: Any, given: Any) -> Any:
    """Put beside every value where it comes from."""
    if isinstance(whole, dict):
        given = given if isinstance(given, dict) else {}
        return {
            name: _with_origin(value, given[name]) if name in given else _defaults(value)
            for name, value in whole.items()
        }
    if isinstance(whole, list) and whole and isinstance(whole[0], dict):
        inner = given if isinstance(given, list) else [given] * len(whole)
        return [_with_origin(*pair) for pair in zip(whole, inner, strict=False)]
    return {"value": whole, "origin": "file"}


def _defaults(value: Any) -> Any:
    if isinstance(value, dict) and value:
        return {name: _defaults(inner) for name, inner in value.items()}
    return {"value": value, "origin": "default"}
