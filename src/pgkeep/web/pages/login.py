"""The log-in page. The browser asks /api/session itself, so that the cookie is the answer's."""

import json
from typing import Final

from fastapi import Request
from nicegui import ui

from pgkeep.web.frame import plain_head
from pgkeep.web.site import LOG_IN, Site

_SLOW_S: Final = 20.0  # of a log-in: the service checks few passwords at a time


def register(site: Site) -> None:
    def shown(request: Request) -> None:
        plain_head()
        _form(_way_on(request.query_params.get("next", "")), none=not site.parts.users.users())

    ui.page(LOG_IN, title="Log in · pgkeep", dark=None)(shown)


def _way_on(wanted: str) -> str:
    """Return a place of this site to go on to: never another's, which a link could name."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\", LOG_IN))
    return wanted if is_ours and wanted.isprintable() else "/"


def _form(way_on: str, *, none: bool) -> None:
    with (
        ui.element("main").classes("pk-login"),
        ui.element("form").classes("pk-card").props('aria-label="Log in"') as form,
    ):
        ui.label("pgkeep").classes("pk-brand").props('role="heading" aria-level="1"')
        if none:
            ui.label("There are no users yet. Make the first one on this host:")
            with ui.element("div").classes("pk-command"), ui.element("code"):
                ui.label("pgkeep user add NAME --role admin")
        name = ui.input("User").props('outlined autocomplete="username" autofocus')
        password = ui.input("Password", password=True)
        password.props('outlined autocomplete="current-password"')
        trouble = ui.label("").classes("pk-bad pk-wrap").props('role="alert"')
        trouble.set_visibility(False)
        button = ui.button("Log in").props('type="submit" unelevated').classes("pk-primary")

    async def log_in() -> None:
        button.props("loading")
        given = f"{json.dumps(name.value or '')}, {json.dumps(password.value or '')}"
        try:
            said = await ui.run_javascript(f"return await pgkeep.logIn({given})", timeout=_SLOW_S)
        except TimeoutError:
            said = "the service has not answered in time: try again"
        button.props(remove="loading")
        if not said:
            ui.navigate.to(way_on)
            return
        trouble.set_text(str(said)[:1].upper() + str(said)[1:])
        trouble.set_visibility(True)
        password.set_value("")

    form.on("submit.prevent", log_in)
