"""Errors as the API answers them: a status, and {code, message, hint}."""

import json
from http import HTTPStatus
from typing import Any, Final

from pgkeep.errors import PgkeepError

_STATUSES: Final = {
    "not-logged-in": HTTPStatus.UNAUTHORIZED,
    "wrong-log-in": HTTPStatus.UNAUTHORIZED,
    "not-allowed": HTTPStatus.FORBIDDEN,
    "cross-site-request": HTTPStatus.FORBIDDEN,
    "no-such-user": HTTPStatus.NOT_FOUND,
    "no-such-cluster": HTTPStatus.NOT_FOUND,
    "no-such-job": HTTPStatus.NOT_FOUND,
    "cluster-not-chosen": HTTPStatus.NOT_FOUND,
    "unknown-backup": HTTPStatus.NOT_FOUND,
    "unknown-dump": HTTPStatus.NOT_FOUND,
    "user-exists": HTTPStatus.CONFLICT,
    "last-admin": HTTPStatus.CONFLICT,
    "name-not-typed": HTTPStatus.CONFLICT,
    "request-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too-many-log-ins": HTTPStatus.TOO_MANY_REQUESTS,
    "bad-request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "bad-user": HTTPStatus.UNPROCESSABLE_ENTITY,
    "not-a-job": HTTPStatus.UNPROCESSABLE_ENTITY,
    "wrong-host": HTTPStatus.MISDIRECTED_REQUEST,
    # What the service itself lacks.
    "act-not-recorded": HTTPStatus.SERVICE_UNAVAILABLE,
    "too-busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "users-unreadable": HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error: PgkeepError) -> int:
    """Return the HTTP status of an error: 409 for what cannot be done as things are."""
    if error.retryable:
        return int(HTTPStatus.SERVICE_UNAVAILABLE)
    return int(_STATUSES.get(error.code, HTTPStatus.CONFLICT))


def body_of(error: PgkeepError) -> dict[str, Any]:
    """Return what is said of an error: a sentence, and what to do next."""
    return said(error.code, str(error), error.hint)


def said(code: str, message: str, hint: str = "") -> dict[str, Any]:
    return {"code": code, "message": message, "hint": hint}


def headers_of(error: PgkeepError) -> dict[str, str]:
    """Return what else an answer to an error needs."""
    after = getattr(error, "after_s", 0)
    return {"Retry-After": str(after)} if after else {}


def encoded(error: PgkeepError) -> bytes:
    return json.dumps(body_of(error)).encode()
