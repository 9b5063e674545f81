"""What browsers are told about every answer, and what an answer tells about its asker. Pure."""

from collections.abc import Iterable
from typing import Final

Headers = list[tuple[bytes, bytes]]

# The page's framework compiles its templates in the browser and styles elements one by one: it does
# not work without unsafe-eval and unsafe-inline. What it loads is all from here.
_PAGE: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_API: Final = "default-src 'none'; frame-ancestors 'none'"
_YEAR: Final = 365 * 86400


def guarded(headers: Iterable[tuple[bytes, bytes]], *, api: bool, tls: bool) -> Headers:
    """Return an answer's headers with those that guard whoever reads it."""
    own: dict[bytes, bytes] = {
        b"content-security-policy": (_API if api else _PAGE).encode(),
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
        b"referrer-policy": b"same-origin",
        b"cross-origin-opener-policy": b"same-origin",
        b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    }
    if api:
        own[b"cache-control"] = b"no-store"
    if tls:
        own[b"strict-transport-security"] = f"max-age={_YEAR}".encode()
    rest = [(name, value) for name, value in headers if name.lower() not in own]
    return [*rest, *own.items()]


def is_same_site(origin: str | None, site: str | None, host: str) -> bool:
    """Tell whether a request comes from a page of ours, or from no page at all.

    Browsers always send Origin with what changes something; programs send neither.
    """
    if site is not None and site not in ("same-origin", "none"):
        return False
    if origin is None:
        return True
    scheme, _, place = origin.partition("://")
    return scheme in ("http", "https") and place.lower() == host.lower()
