"""Delivers one message, as a process of its own: what hangs or crashes here hurts nobody.

    python -m pgkeep.alerts.deliver < message.json

stdin: {"url", "title", "body", "level", "seconds"}; the address is a secret and so is no argument.
stdout: {"delivered": bool, "why": text without secrets}. apprise does the delivering.
"""

import json
import logging
import re
import signal
import sys
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_WHY: Final = 500  # characters
_LEAST: Final = 4  # characters of a part of an address that is worth hiding
_GRACE_S: Final = 5
_CAUSE: Final = "Socket Exception: "  # of apprise


def main() -> None:
    request = json.load(sys.stdin)
    # Whoever started this ends it in time; if they are gone, it ends by itself.
    signal.alarm(int(request["seconds"]) + _GRACE_S)
    sys.stdout.write(json.dumps(deliver(request)))


def deliver(request: dict[str, Any]) -> dict[str, Any]:
    """Send a message and return what came of it."""
    import apprise

    said: list[str] = []
    logger = logging.getLogger("apprise")
    logger.handlers = [_Listening(said)]
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    to, url = apprise.Apprise(), str(request["url"])
    if not to.add(url):
        return {"delivered": False, "why": "apprise knows no such address: see docs/alerts.md"}
    for service in to:
        # What is too long for a service loses its end: the worst stands first.
        if "overflow=" not in url.lower():
            service.overflow_mode = apprise.OverflowMode.TRUNCATE
    kind = {"critical": "failure", "warning": "warning"}.get(str(request["level"]), "info")
    delivered = bool(
        to.notify(
            title=str(request["title"]),
            body=str(request["body"]),
            notify_type=kind,
            body_format="text",
        )
    )
    why = "; ".join(dict.fromkeys(said)) or ("" if delivered else "it was refused, without a word")
    return {"delivered": delivered, "why": hidden(why, url)[:_WHY]}


def hidden(text: str, url: str) -> str:
    """Return text without the parts of an address that may be secret: all but host and port."""
    place = urlsplit(url).netloc.rpartition("@")[2]
    host, _, port = place.partition(":")
    known = {port, host if "." in host or host == "localhost" else ""}  # else it may be a token
    _, _, rest = url.partition("://")
    parts = {part for part in re.split(r"[/?&=:@#,;]", rest) if len(part) >= _LEAST}
    for part in sorted(parts | {unquote(part) for part in parts}, key=len, reverse=True):
        if part not in known:
            text = text.replace(part, "***")
    return text


class _Listening(logging.Handler):
    """Keeps warnings, and of what is said for developers the cause of a lost connection."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if record.levelno >= logging.WARNING:
            self._said.append(text.rstrip("."))
        elif text.startswith(_CAUSE):
            self._said.append(_inner(text.removeprefix(_CAUSE)))


def _inner(cause: str) -> str:
    """Return the innermost cause: 'pool: Max retries ... (Caused by X("connection: why"))'."""
    found = re.search(r"Caused by \w+\([\"']?(.*?)[\"']?\)\)*$", cause)
    return re.sub(r"^\w+\(host=[^)]*\): ", "", found[1]) if found else cause


if __name__ == "__main__":
    main()
