"""Puts the API together. docs/web-access.md is for people, the OpenAPI document for programs."""

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from pgkeep import __version__
from pgkeep.api.errors import BadRequest
from pgkeep.api.gate import answers
from pgkeep.api.gate.access import LOG_IN_PAGE, Access
from pgkeep.api.gate.headers import guarded
from pgkeep.api.listening import Listening
from pgkeep.api.parts import parts
from pgkeep.api.routes import advising, clusters, jobs, people, service, session
from pgkeep.api.routes.asked import needs
from pgkeep.api.users import Users
from pgkeep.errors import PgkeepError
from pgkeep.service.board import Board

_ABOUT: Final = """Everything that the page shows and does. What changes something is a job: one
`pgkeep` command line, named in the answer. Errors are `{code, message, hint}`.

Programs send `Authorization: Bearer TOKEN`. Browsers log in with POST /api/session, and send the
answer's `csrf` as `X-CSRF-Token` with whatever is no GET."""
_TAGS: Final = (
    ("session", "Logging in and out."),
    ("clusters", "What there is, and how well it is protected."),
    ("jobs", "What runs, and what starts a job."),
    ("advise", "Which backups, how often, at what cost."),
    ("users", "Who may do what: for admins."),
    ("audit", "Who did what."),
    ("service", "The service itself."),
)


def build_api(board: Board, users: Users, where: Listening | None = None) -> FastAPI:
    """Return the application: routes, and the gate that guards pages mounted on it as well.

    Its `state.pgkeep` is the api.parts.Parts; whoever serves it starts and closes `audit` there.
    Raise ListeningRefused or UsersUnreadable.
    """
    shared = parts(board, users, where)
    app = FastAPI(
        title="pgkeep",
        version=__version__,
        description=_ABOUT,
        openapi_tags=[{"name": name, "description": words} for name, words in _TAGS],
        openapi_url=None,  # a route of our own, below: it takes a log-in
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.pgkeep = shared
    for part in (session, clusters, advising, jobs, people, service):
        app.include_router(part.router)
    _describe(app)
    _answer_errors(app)
    app.add_middleware(Access, users=users, sessions=shared.sessions, listening=shared.listening)
    return app


def mount_no_page(app: FastAPI) -> None:
    """Have an application that no page is mounted on say so to browsers."""

    @app.get("/", include_in_schema=False)
    @app.get(LOG_IN_PAGE, include_in_schema=False)
    def none() -> PlainTextResponse:
        said = "There is no page: install pgkeep[web] for it. /api and /metrics are here.\n"
        return PlainTextResponse(said, 404)


def _describe(app: FastAPI) -> None:
    @app.get("/api/openapi.json", tags=["service"], **needs("look"))
    def openapi() -> dict[str, Any]:
        """Return this document."""
        return app.openapi()


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(PgkeepError)
    def refused(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, PgkeepError)
        return _answer(error)

    @app.exception_handler(RequestValidationError)
    def misunderstood(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _answer(
            BadRequest("understand the request", _words_of(error), "see /api/openapi.json")
        )

    @app.exception_handler(HTTPException)
    def refused_below(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, PgkeepError):  # our own, on its way through the framework
            return _answer(error.__cause__)
        body = answers.said(f"http-{error.status_code}", str(error.detail).lower())
        return JSONResponse(body, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    def broken(request: Request, _error: Exception) -> JSONResponse:
        # What it is goes to the service's log, and to nobody else.
        hint = "the service's log has more"
        answer = JSONResponse(answers.said("bug", "pgkeep has a bug", hint), 500)
        # Starlette answers what nobody expected outside of all middleware, and so of the gate.
        is_tls = request.url.scheme == "https"
        answer.raw_headers = guarded(answer.raw_headers, api=True, tls=is_tls)
        return answer


def _answer(error: PgkeepError) -> JSONResponse:
    return JSONResponse(
        answers.body_of(error), answers.status_of(error), headers=answers.headers_of(error)
    )


def _words_of(error: RequestValidationError) -> str:
    """Return what is wrong, by the names of fields; never what was sent: it may be a password."""
    found = []
    for one in error.errors()[:5]:
        place = ".".join(str(part) for part in one["loc"] if part != "body")[:100]
        found.append(
            f"{place or 'the body'}: {str(one['msg'])[:1].lower()}{str(one['msg'])[1:200]}"
        )
    return "; ".join(found)
