"""Where the service listens, and why it sometimes must not.

Without TLS passwords cross the network in clear; without users anybody may look. So beyond this
host it takes both, or the word of the config that a proxy has TLS.
"""

import ipaddress
import os
import re
import ssl
from dataclasses import dataclass
from typing import Any, Final

from pgkeep.api.errors import ListeningRefused
from pgkeep.config.service import ServiceConfig

_ADDRESS: Final = re.compile(r"(?:\[([0-9a-fA-F:.%]+)\]|([^:\[\]]*)):([0-9]{1,5})")
_UNIX: Final = "unix:"
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Patience:
    """How many may be connected, and how long each may take to ask."""

    connections: int = 500  # of the 1024 files that a process usually may open: jobs need some too
    ask_s: float = 20.0  # for a request in whole, and a TLS handshake; answers may take longer


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen, and by which names one may be called there."""

    host: str  # '' for a socket
    port: int
    socket: str = ""
    certificate: str = ""
    key: str = ""
    is_local: bool = True
    names: frozenset[str] = frozenset()  # what a Host header may say; empty: anything

    @property
    def has_tls(self) -> bool:
        return bool(self.certificate)

    @property
    def url(self) -> str:
        """Return where a browser finds it; a socket's path where none does."""
        if self.socket:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.has_tls else ''}://{host}:{self.port}"

    def may_be_called(self, host_header: str) -> bool:
        """Tell whether a Host header is one of ours: other sites' names may lead here as well."""
        if not self.names:
            return True
        return host_of(host_header) in self.names

    def uvicorn_options(self) -> dict[str, Any]:
        """Return what uvicorn's Config needs to listen there."""
        where: dict[str, Any] = {"uds": self.socket} if self.socket else {}
        if not self.socket:
            where = {"host": self.host, "port": self.port}
        if self.has_tls:
            where |= {"ssl_certfile": self.certificate, "ssl_keyfile": self.key}
        # Only a proxy on this host may say for whom it asks; who opens the socket is one.
        proxies = "*" if self.socket else "127.0.0.1,::1"
        return {**where, "server_header": False, "forwarded_allow_ips": proxies}


def listening(service: ServiceConfig, *, has_users: bool) -> Listening:
    """Return where to listen by [service]. Raise ListeningRefused, with what to do instead."""
    host, port, socket = _parse(service.listen)
    is_local = bool(socket) or _is_local(host)
    check_tls(service)
    if not is_local:
        _refuse_wide(service, has_users=has_users)
    names = frozenset(name.lower() for name in service.hosts)
    if is_local:
        names |= _LOCAL_NAMES | ({host} if host else frozenset())
    return Listening(host, port, socket, service.tls_certificate, service.tls_key, is_local, names)


def host_of(header: str) -> str:
    """Return the host of a Host header, without port and brackets, in small letters."""
    match = re.fullmatch(r"\[([^\]]*)\](?::[0-9]*)?|([^:\[\]]*)(?::[0-9]*)?", header.strip())
    return (match[1] or match[2] or "").lower().rstrip(".") if match else ""


def _parse(text: str) -> tuple[str, int, str]:
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not os.path.isabs(path):
            raise _refused(text, "the path of a socket must be absolute", "unix:/run/pgkeep.sock")
        return "", 0, path
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match[3]) > 65535:
        raise _refused(text, "it is no address with a port", "write it like 127.0.0.1:8426")
    host = match[1] or match[2]
    if host == "localhost":
        return "127.0.0.1", int(match[3]), ""
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        why = f"{host!r} is no IP address" if host else "it names no address"
        advice = "write 127.0.0.1:8426 for this host, 0.0.0.0:8426 for all of its addresses"
        raise _refused(text, why, advice) from error
    return host, int(match[3]), ""


def _is_local(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _refuse_wide(service: ServiceConfig, *, has_users: bool) -> None:
    listen = service.listen
    if not has_users:
        why = "there are no users, and whoever reaches it could look"
        raise _refused(listen, why, "make one: pgkeep user add NAME --role admin")
    if not service.tls_certificate and not service.allow_insecure:
        advice = (
            "set tls_certificate and tls_key in [service]; or allow_insecure = true, when a "
            "proxy before it has TLS"
        )
        raise _refused(listen, "passwords would cross the network in clear", advice)


def check_tls(service: ServiceConfig) -> None:
    """Refuse a certificate and key that cannot be shown, or that others may read."""
    certificate, key = service.tls_certificate, service.tls_key
    if bool(certificate) != bool(key):
        missing = "tls_key" if certificate else "tls_certificate"
        raise _refused(service.listen, f"[service] {missing} is missing", "set both, or none")
    if not certificate:
        return
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            with open(path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
        except OSError as error:
            why = f"{name} {path} cannot be read: {error.strerror or error}"
            raise _refused(service.listen, why, f"let user {os.geteuid()} read it") from error
        if name == "tls_key" and mode & 0o007:
            raise _refused(service.listen, f"anybody can read {path}", f"chmod o= {path}")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            certificate, key, password=_no_password
        )
    except (ssl.SSLError, ValueError) as error:
        why = f"{certificate} and {key} are no certificate and its key ({_ssl_words(error)})"
        advice = f"compare: openssl x509 -noout -pubkey -in {certificate}; openssl pkey -pubout -in"
        raise _refused(service.listen, why, f"{advice} {key}") from error


def _no_password() -> str:
    # Else OpenSSL asks at the terminal, where nobody sits.
    raise ValueError("the key is encrypted: store it without a passphrase")


def _ssl_words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)


def _refused(listen: str, why: str, advice: str) -> ListeningRefused:
    return ListeningRefused(f"listen on {listen!r}", why, advice)
