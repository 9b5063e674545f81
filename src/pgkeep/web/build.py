"""Puts the page beside the API. Once in a process: NiceGUI has one application of its own."""

from fastapi import FastAPI
from nicegui import app as framework
from nicegui import ui

from pgkeep.api.parts import Parts
from pgkeep.api.users import Users
from pgkeep.service.board import Board
from pgkeep.web.pages import (
    adviser,
    backups,
    checklist,
    jobs,
    login,
    overview,
    settings,
    storage,
    timeline,
    undo,
)
from pgkeep.web.site import Site
from pgkeep.web.sockets import guard
from pgkeep.web.theme import ASSETS

_PAGES = (
    login,
    overview,
    timeline,
    backups,
    undo,
    adviser,
    checklist,
    jobs,
    storage,
    settings,
)


def mount(app: FastAPI, board: Board, users: Users) -> None:
    """Have an application of build_api() show the pages as well, behind its gate."""
    parts: Parts = app.state.pgkeep
    assert parts.board is board
    assert parts.users is users
    site = Site(parts)
    guard(parts)
    framework.add_static_files("/assets", str(ASSETS))
    for page in _PAGES:
        page.register(site)
    ui.run_with(app, title="pgkeep", dark=None, show_welcome_message=False, reconnect_timeout=30)
