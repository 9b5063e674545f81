"""The service itself: its settings, and whether it lives."""

from typing import Any

from fastapi import APIRouter, Response
from msgspec import to_builtins

from pgkeep import __version__
from pgkeep.api.routes.asked import Shared, needs
from pgkeep.config.shown import without_secrets
from pgkeep.health.metrics import CONTENT_TYPE
from pgkeep.service.measuring import metrics_of

router = APIRouter(tags=["service"])


@router.get("/healthz")
def healthz() -> dict[str, Any]:
    """Tell that the service answers: for whoever starts it again when it does not. No log-in."""
    return {"ok": True}


@router.get("/metrics", response_class=Response, **needs("look"))
def metrics(shared: Shared) -> Response:
    """Return the metrics of all clusters, as Prometheus reads them."""
    return Response(metrics_of(shared.board), media_type=CONTENT_TYPE)


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
