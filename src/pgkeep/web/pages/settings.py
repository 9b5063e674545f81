"""Settings: every option with its value and origin, and who may log in. Nothing is changed here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from nicegui import ui

from pgkeep.api.users import Users
from pgkeep.config.sections import ClusterConfig
from pgkeep.config.shown import harmless
from pgkeep.errors import PgkeepError
from pgkeep.server.connecting import redacted
from pgkeep.web import pieces
from pgkeep.web.rows import options as rows
from pgkeep.web.rows.options import OptionRow
from pgkeep.web.site import Site
from pgkeep.web.visit import Visit, notice


def register(site: Site) -> None:
    site.page("/settings", "Settings", _settings, act="settings")


def _settings(visit: Visit) -> None:
    loaded = visit.board.config
    text, why = _read(loaded.file)
    found = with_servers(rows.rows(loaded.config, loaded.table, text), loaded.config.clusters)
    with ui.element("section").classes("pk-card").props('aria-label="Config file"'):
        pieces.facts([("Config file", loaded.file), ("State", str(visit.board.state_directory))])
        ui.label(
            "These are the options that the service goes by, of all clusters. To change them, "
            "write the file and have it read again:"
        ).classes("pk-muted")
        pieces.command("systemctl reload pgkeep")
        if why:
            ui.label(f"Lines are not known: {why}").classes("pk-notice warn pk-wrap")
    with ui.row().classes("pk-row pk-spread"):
        pieces.heading("Options")
        every = ui.switch("Defaults too", value=False)
    for section, own in groupby(found, key=lambda row: row.section):
        _section(section, list(own), every)
    _users(visit.parts.users)


def with_servers(
    found: Iterable[OptionRow], clusters: Mapping[str, ClusterConfig]
) -> Iterator[OptionRow]:
    """Yield options with what connection strings say beside their secrets: host, port, user."""
    known = {f"clusters.{name}": one.conninfo.reveal() for name, one in clusters.items()}
    for row in found:
        if row.name != "conninfo" or not known.get(row.section):
            yield row
            continue
        shown = redacted(known[row.section])
        yield replace(row, value=shown or "all from the environment and the service file")


def _section(section: str, own: list[OptionRow], every: ui.switch) -> None:
    name = f"[{section}]" if section else "The file itself"
    with ui.element("section").classes("pk-card") as card:
        card.props["aria-label"] = name
        pieces.heading(name, 3)
        with ui.element("dl").classes("pk-options"):
            for row in own:
                with ui.element("div").classes("pk-option") as line:
                    _option(row)
                if not row.is_set:
                    line.bind_visibility_from(every, "value")
    if not any(row.is_set for row in own):
        card.bind_visibility_from(every, "value")


def _option(row: OptionRow) -> None:
    with ui.element("dt"):
        ui.label(row.name).classes("pk-mono pk-wrap")
    with ui.element("dd"):
        ui.label(row.value or "empty").classes(
            "pk-mono pk-wrap" + ("" if row.value else " pk-muted")
        )
        ui.label(row.says).classes("pk-muted pk-small pk-wrap")
    ui.label(row.origin).classes("pk-muted pk-small")


def _users(users: Users) -> None:
    pieces.heading("Users")
    with ui.element("section").classes("pk-card").props('aria-label="Users"'):
        try:
            known, tokens = users.users(), users.tokens()
        except PgkeepError as error:
            notice(error)
            return
        pieces.table(
            ("Name", "Role", "Kind", "Since"),
            [
                *((one.name, one.role, "person", f"{one.made_at:%Y-%m-%d}") for one in known),
                *((one.name, one.role, "token", f"{one.made_at:%Y-%m-%d}") for one in tokens),
            ],
        )
        ui.label("On this host: add, change and remove them").classes("pk-muted")
        pieces.command("pgkeep user --help")


def _read(file: str) -> tuple[str, str]:
    """Return the config file's text, for its lines, or why there is none."""
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read(), ""
    except (OSError, ValueError) as error:
        return "", harmless(str(error))
