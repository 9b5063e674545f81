"""The log-in page: plain HTML, for nothing of the page's framework runs for nobody.

The browser asks /api/session itself (assets/pgkeep.js), so that the cookie is the answer's.
"""

from html import escape
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from nicegui import app as framework

from pgkeep import __version__
from pgkeep.api.gate.access import LOG_IN_PAGE
from pgkeep.web.site import Site

_FIRST_USER: Final = """
<p>There are no users yet. Make the first one on this host:</p>
<div class="pk-command"><code>pgkeep user add NAME --role admin</code></div>"""
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · pgkeep</title>
<link rel="icon" href="/favicon.ico">
<link rel="stylesheet" href="/assets/pgkeep.css?v={version}">
<script src="/assets/pgkeep.js?v={version}"></script>
</head>
<body>
<main class="pk-login">
<form class="pk-card" method="post" aria-label="Log in" data-next="{way_on}">
<h1 class="pk-brand">pgkeep</h1>{first_user}
<noscript>This page needs JavaScript.</noscript>
<label>User <input name="user" autocomplete="username" maxlength="64" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password"
  maxlength="1024" required></label>
<p class="pk-bad pk-wrap" role="alert" hidden></p>
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
"""


def register(site: Site) -> None:
    @framework.get(LOG_IN_PAGE, include_in_schema=False)
    def log_in(request: Request) -> HTMLResponse:
        text = _PAGE.format(
            version=__version__,
            way_on=escape(_way_on(request.query_params.get("next", ""))),
            first_user="" if site.parts.users.users() else _FIRST_USER,
        )
        return HTMLResponse(text, headers={"cache-control": "no-store"})


def _way_on(wanted: str) -> str:
    """Return a place of this site to go on to: never another's, which a link could name."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\", LOG_IN_PAGE))
    return wanted if is_ours and wanted.isprintable() else "/"
