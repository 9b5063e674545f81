"""What an sftp:// address says. Pure: no file is looked at, nobody is asked."""

from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from pgkeep.repository.store.open import BadStoreUrl
from pgkeep.units import BadUnit, parse_duration

PORT: Final = 22
TIMEOUT_S: Final = 60  # for one answer: a slow disk may take its time to sync a pack of 32 MiB
RETRY_S: Final = 10  # sshd has restarted by then; five times that fits into a server's shutdown
_LONGEST_S: Final = 3600
_OPTIONS: Final = ("identity_file", "known_hosts", "timeout", "retry_for")


class BadSftpUrl(BadStoreUrl):
    """An sftp:// address with something in it that cannot be used."""

    code = "bad-sftp-url"

    @property
    def hint(self) -> str:
        return 'write it like url = "sftp://pgkeep@box.example.org/backups/main"'


class SftpAddress(NamedTuple):
    """Where a store is on which machine, and how to get there."""

    user: str | None  # None: who we are here
    host: str
    port: int
    path: str  # absolute, without '..' or a slash at its end
    identity_file: str | None = None
    known_hosts: str | None = None
    timeout: int = TIMEOUT_S  # seconds
    retry_for: int = RETRY_S  # seconds; 0: once is enough

    @property
    def host_name(self) -> str:
        """Return the host as known_hosts files and ssh-keyscan's output name it."""
        return self.host if self.port == PORT else f"[{self.host}]:{self.port}"

    @property
    def url(self) -> str:
        user = "" if self.user is None else f"{quote(self.user, safe='')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORT else f":{self.port}"
        return f"sftp://{user}{host}{port}{quote(self.path)}"

    @property
    def address(self) -> str:
        """Return what parse_address() makes the same of."""
        options = {}
        if self.identity_file is not None:
            options["identity_file"] = self.identity_file
        if self.known_hosts is not None:
            options["known_hosts"] = self.known_hosts
        if self.timeout != TIMEOUT_S:
            options["timeout"] = f"{self.timeout}s"
        if self.retry_for != RETRY_S:
            options["retry_for"] = f"{self.retry_for}s"
        query = urlencode(options, safe="/", quote_via=quote)
        return f"{self.url}?{query}" if query else self.url


def parse_address(url: str) -> SftpAddress:
    """Read 'sftp://user@host:port/absolute/path?option=value&...'. Raise BadSftpUrl."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadSftpUrl(_without_password(url), str(error).lower()) from error
    shown = _without_password(url)
    if parts.password is not None:
        raise BadSftpUrl(shown, "passwords don't belong in addresses; pgkeep logs in by key")
    if not host or host.startswith("-"):
        raise BadSftpUrl(shown, "it names no host")
    if parts.fragment:
        raise BadSftpUrl(shown, "it has a '#' in it; in a path that is written %23")
    if port == 0:
        raise BadSftpUrl(shown, "port 0 is none")
    options = _options(shown, parts)
    return SftpAddress(
        user=unquote(parts.username) if parts.username else None,
        host=host,
        port=port or PORT,
        path=_path(shown, unquote(parts.path)),
        identity_file=_file(shown, options, "identity_file"),
        known_hosts=_file(shown, options, "known_hosts"),
        timeout=_seconds(shown, options, "timeout", 1, TIMEOUT_S),
        retry_for=_seconds(shown, options, "retry_for", 0, RETRY_S),
    )


def _without_password(url: str) -> str:
    """Return an address that may be shown: what stands between ':' and '@' is no port."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    login, at, host = place.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}://{user}:***@{host}{slash}{path}" if at and colon else url


def _path(shown: str, path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if not path.startswith("/") or not parts:
        raise BadSftpUrl(shown, "it names no directory below the root, like /backups/main")
    if "." in parts or ".." in parts or not path.isprintable():
        raise BadSftpUrl(shown, "its path must be plain: no '.', no '..', no control characters")
    return "/" + "/".join(parts)


def _options(shown: str, parts: SplitResult) -> dict[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise BadSftpUrl(shown, "what follows '?' is no list of option=value") from error
    options = dict(pairs)
    if len(options) != len(pairs):
        raise BadSftpUrl(shown, "an option is given twice")
    for name in options:
        if name not in _OPTIONS:
            raise BadSftpUrl(shown, f"option {name} is unknown; there are {', '.join(_OPTIONS)}")
    return options


def _file(shown: str, options: dict[str, str], name: str) -> str | None:
    value = options.get(name)
    if value is not None and not value.startswith("/"):
        raise BadSftpUrl(shown, f"{name} must be an absolute path")
    return value


def _seconds(shown: str, options: dict[str, str], name: str, least: int, default: int) -> int:
    if name not in options:
        return default
    try:
        seconds = parse_duration(options[name])
    except BadUnit as error:
        raise BadSftpUrl(shown, f"{name} is no duration, like 30s") from error
    if not least <= seconds <= _LONGEST_S:
        raise BadSftpUrl(shown, f"{name} must be {least} to {_LONGEST_S} seconds")
    return seconds
