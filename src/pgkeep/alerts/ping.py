"""The ping that tells somebody outside that this host is alive and sees its clusters."""

import http.client
import urllib.request
from datetime import datetime, timedelta
from threading import Thread
from typing import Final

from pgkeep.alerts.deliver import hidden

SECONDS: Final = 10.0
# Handlers for other schemes are left out: a redirect must not read a file.
_PARTS: Final = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.HTTPRedirectHandler,
    urllib.request.UnknownHandler,
)


def ping(url: str, seconds: float = SECONDS) -> str:
    """Fetch an address; return why it failed, or ''. Only http and https are fetched."""
    if not url.lower().startswith(("http://", "https://")):
        return "it is no http:// or https:// address"
    opener = urllib.request.OpenerDirector()
    for part in _PARTS:
        opener.add_handler(part())
    try:
        with opener.open(url, timeout=seconds) as answer:
            answer.read(1024)
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = " ".join(str(getattr(error, "reason", error)).split())
        return hidden(f"{type(error).__name__}: {why}", url)
    return ""


class Pinger:
    """Fetches an address now and then, in a thread of its own, never two at a time."""

    def __init__(self, url: str, every: timedelta) -> None:
        self._url = url
        self._every = every
        self._at: datetime | None = None
        self._thread: Thread | None = None
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Say why the newest ping failed; '' when it did not."""
        return self._trouble

    def go_on(self, now: datetime) -> None:
        """Ping if it is time; return at once. Call this only while all is seen to be well."""
        if not self._url or (self._thread is not None and self._thread.is_alive()):
            return
        if self._at is not None and timedelta() <= now - self._at < self._every:
            return
        self._at = now
        self._thread = Thread(target=self._ping, name="ping", daemon=True)
        self._thread.start()

    def close(self, patience: float) -> None:
        """Give a ping that is under way a last moment."""
        if self._thread is not None:
            self._thread.join(patience)

    def _ping(self) -> None:
        self._trouble = ping(self._url)
