"""The ping that tells somebody outside that this host is alive and sees its clusters."""

import urllib.error
import urllib.request
from threading import Thread
from typing import Final

SECONDS: Final = 10.0


def ping(url: str, seconds: float = SECONDS) -> str:
    """Fetch an address; return why it failed, or ''. Only http and https are fetched."""
    if not url.lower().startswith(("http://", "https://")):
        return "it is no http:// or https:// address"
    try:
        # Handlers for other schemes are left out: a redirect must not read a file.
        opener = urllib.request.OpenerDirector()
        for part in (
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor,
            urllib.request.HTTPRedirectHandler,
        ):
            opener.add_handler(part())
        with opener.open(url, timeout=seconds) as answer:
            answer.read(1024)
    except (OSError, ValueError, urllib.error.URLError) as error:
        return f"{type(error).__name__}: {getattr(error, 'reason', error)}"
    return ""


def ping_soon(url: str) -> None:
    """Fetch an address in a thread of its own. That it failed is for those outside to notice."""
    Thread(target=ping, args=(url,), name="ping", daemon=True).start()
