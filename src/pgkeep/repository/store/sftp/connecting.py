"""Get to another machine by SSH: its key must be known, ours must be accepted, nobody is asked."""

import logging
import os
import pwd
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Lock
from typing import Final

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.sftp import failures
from pgkeep.repository.store.sftp.address import SftpAddress
from pgkeep.repository.store.sftp.known_hosts import HostKey, fingerprint, keys_of
from pgkeep.repository.store.sftp.session import Lost, NotSftp, Session

_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_IDENTITIES: Final = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_TRIES: Final = 5  # sshd hangs up after six (MaxAuthTries)
_WINDOW: Final = 16 << 20  # bytes the server may send ahead of us; its own window is 2 MiB
_SESSIONS: Final = 8  # in one connection; sshd's own limit is ten (MaxSessions)
_KEEPALIVE_S: Final = 30  # for firewalls that forget silent connections
# Encryption and its proof in one call of OpenSSL: 3 times as fast here as aes128-ctr with a MAC.
_FASTEST: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_ALGORITHMS: Final = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}

# What paramiko has to say is in its exceptions too; without this, Python prints it to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Line:
    """An SSH connection, with SFTP sessions in it: it ends with the last of them.

    A session more takes four round trips; a connection more takes ten, and new keys.
    """

    def __init__(
        self, place: SftpAddress, transport: paramiko.Transport, sock: socket.socket
    ) -> None:
        self._place = place
        self._transport = transport
        self._sock = sock
        self._lock = Lock()
        self._sessions = 1  # there, or about to be
        self._most = _SESSIONS

    @property
    def is_usable(self) -> bool:
        return self._transport.is_active()

    def another(self, action: str) -> "Connection | None":
        """Return one more session; None where the server gives no more in this connection."""
        with self._lock:
            if not self.is_usable or not 0 < self._sessions < self._most:
                return None
            self._sessions += 1
        try:
            return Connection(self, _start_sftp(self._place, action, self._transport))
        except (OSError, EOFError, paramiko.SSHException, Lost, StoreFailed):
            self._most = self._sessions - 1
            self.leave()
            return None

    def leave(self) -> None:
        """Be told that one of its sessions is over."""
        with self._lock:
            self._sessions -= 1
            if self._sessions > 0:
                return
        self.close()

    def close(self) -> None:
        _close(self._transport, self._sock)

    def abandon(self) -> None:
        self._sock.close()
        self._transport.active = False  # type: ignore[attr-defined]


class Connection:
    """An SFTP session in a line."""

    def __init__(self, line: Line, channel: paramiko.Channel) -> None:
        self.line = line
        self._channel = channel
        self._is_open = True
        try:
            self.session = Session(channel, self.close)
        except BaseException:
            _close_channel(channel)
            raise

    @property
    def is_usable(self) -> bool:
        return self.line.is_usable and not self.session.is_lost

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if self.session.is_silent:
            self.line.close()  # the others would wait as long for nothing
        else:
            _close_channel(self._channel)
        self.line.leave()

    def abandon(self) -> None:
        """In a forked child: let go of our copy of the socket, and say nothing to the server.

        The parent goes on with this connection. Its thread is not here, and may have held any of
        its locks; so nothing of paramiko's may run, not even when the channel is collected.
        """
        self.line.abandon()
        self._channel.close = _nothing  # type: ignore[method-assign]  # called by its __del__
        self._is_open = False
        self.session.is_lost = True


def connect(place: SftpAddress, action: str) -> Connection:
    """Connect, check the host, log in and start SFTP. Raise StoreFailed's family."""
    sock = _reach(place, action)
    transport = None
    try:
        transport = paramiko.Transport(sock, default_window_size=_WINDOW)
        known = _known(place)
        _prefer(transport, known)
        transport.banner_timeout = transport.auth_timeout = place.timeout
        transport.start_client(timeout=place.timeout)
        _check_host(place, action, transport, known)
        _log_in(place, action, transport)
        transport.set_keepalive(_KEEPALIVE_S)
        line = Line(place, transport, sock)
        return Connection(line, _start_sftp(place, action, transport))
    except BaseException as error:
        _close(transport, sock)
        if isinstance(error, IncompatiblePeer):
            why = f"the server and this client have no algorithm in common ({error})"
            raise failures.SftpRefused(place.url, action, why, "update the older one") from error
        if isinstance(error, NotSftp):
            advice = (
                f"may {_user_of(place)} log in on {place.host}, and does his shell print nothing? "
                "sshd's own server needs no shell: Subsystem sftp internal-sftp"
            )
            raise failures.SftpRefused(place.url, action, str(error), advice) from error
        if isinstance(error, (OSError, EOFError, paramiko.SSHException, Lost)):
            why = f"the connection could not be set up: {_words(error)}"
            advice = f"look at sshd's log on {place.host}"
            raise failures.SftpLost(place.url, action, why, advice) from error
        raise


def _reach(place: SftpAddress, action: str) -> socket.socket:
    try:
        sock = socket.create_connection((place.host, place.port), place.timeout)
    except socket.gaierror as error:
        why = f"the name {place.host} cannot be resolved: {_words(error)}"
        advice = f"is it spelled right? try: getent hosts {place.host}"
        raise failures.SftpLost(place.url, action, why, advice) from error
    except TimeoutError as error:
        why = f"port {place.port} of {place.host} gives no answer"
        raise failures.SftpLost(place.url, action, why, "look at the network between") from error
    except OSError as error:
        why = f"port {place.port} of {place.host} cannot be reached: {_words(error)}"
        advice = f"is sshd running there? try: ssh -p {place.port} {place.host}"
        raise failures.SftpLost(place.url, action, why, advice) from error
    # Small requests follow each other without answers between: 5 instead of 54 ms for a blob.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _known(place: SftpAddress) -> list[HostKey]:
    found = []
    for file in _files_of(place):
        with suppress(FileNotFoundError), open(file, encoding="utf-8", errors="replace") as opened:
            found += keys_of(place.host_name, opened, file)
    return found


def _files_of(place: SftpAddress) -> list[str]:
    if place.known_hosts is not None:
        return [place.known_hosts]
    return list(map(os.path.expanduser, _KNOWN_HOSTS))


def _prefer(transport: paramiko.Transport, known: Iterable[HostKey]) -> None:
    """Ask for a key of a kind that we know: a host has several, and shows one."""
    options = transport.get_security_options()
    kinds = [name for key in known for name in _ALGORITHMS.get(key.kind, (key.kind,))]
    able = [kind for kind in dict.fromkeys(kinds) if kind in options.key_types]
    options.key_types = (*able, *(kind for kind in options.key_types if kind not in able))
    slower = [cipher for cipher in options.ciphers if cipher not in _FASTEST]
    options.ciphers = (*_FASTEST, *(cipher for cipher in slower if cipher.endswith("-ctr")))


def _check_host(
    place: SftpAddress, action: str, transport: paramiko.Transport, known: list[HostKey]
) -> None:
    shown = transport.get_remote_server_key()
    kind, blob = shown.get_name(), shown.asbytes()
    for key in known:
        if key.revoked and key.blob == blob:
            raise failures.host_revoked(place, action, kind, key)
    good = [key for key in known if not key.revoked]
    if any(key.blob == blob for key in good):
        return
    if good:
        raise failures.host_changed(place, action, kind, blob, good)
    raise failures.host_unknown(place, action, kind, blob, _files_of(place))


def _log_in(place: SftpAddress, action: str, transport: paramiko.Transport) -> None:
    user = _user_of(place)
    refused: list[str] = []
    agent = paramiko.Agent()
    try:
        for name, key in _keys(place, action, agent):
            try:
                more = transport.auth_publickey(user, key)
            except paramiko.BadAuthenticationType as error:
                why = f"it lets {user} in only by {' or '.join(error.allowed_types) or 'nothing'}"
                raise failures.SftpKeyRefused(
                    place.url, action, why, "allow PubkeyAuthentication in its sshd_config"
                ) from error
            except paramiko.AuthenticationException:
                refused.append(f"{name} ({fingerprint(key.asbytes())})")
                continue
            if more:
                why = f"it wants more of {user} than a key: {' and '.join(more)}"
                raise failures.SftpKeyRefused(place.url, action, why, "nobody is there to type it")
            return
    except (EOFError, OSError, paramiko.SSHException):
        if not refused:
            raise  # the connection broke; else the server has had enough of our keys
    finally:
        agent.close()
    raise _not_let_in(place, action, user, refused)


def _not_let_in(
    place: SftpAddress, action: str, user: str, refused: list[str]
) -> failures.SftpKeyRefused:
    here = f"{_user_here()} has on {socket.gethostname()}"
    if refused:
        why = f"{place.host} accepts for user {user} none of the keys that {here}: "
        why += ", ".join(refused)
        advice = (
            f"add the public key to ~{user}/.ssh/authorized_keys on {place.host}; its log says more"
        )
        return failures.SftpKeyRefused(place.url, action, why, advice)
    why = f"there is no key to log in with: no agent, and none of {', '.join(_IDENTITIES)}"
    advice = "make one with: ssh-keygen -t ed25519 -N ''; or set identity_file under [repository]"
    return failures.SftpKeyRefused(place.url, action, why, advice)


def _keys(
    place: SftpAddress, action: str, agent: paramiko.Agent
) -> Iterator[tuple[str, paramiko.PKey]]:
    """Yield the keys to try: the one that the config names, or else the agent's and the user's."""
    held = agent.get_keys()
    if place.identity_file is not None:
        yield place.identity_file, _named_key(place, action, place.identity_file, held)
        return
    for key in held[:_TRIES]:
        yield "the agent's", key
    for name in _IDENTITIES[: max(0, _TRIES - len(held))]:
        # A key of the user's own that needs a passphrase is one that the agent should hold.
        with suppress(OSError, ValueError, TypeError, paramiko.SSHException):
            yield name, paramiko.PKey.from_path(os.path.expanduser(name))


def _named_key(
    place: SftpAddress, action: str, file: str, held: Iterable[paramiko.PKey]
) -> paramiko.PKey:
    def unusable(why: str, advice: str = "") -> StoreFailed:
        return failures.SftpKeyRefused(place.url, action, f"identity_file {file}: {why}", advice)

    try:
        mode = stat.S_IMODE(os.stat(file).st_mode)
        if mode & 0o077:
            why = f"other users can read it too (mode {mode:04o})"
            raise unusable(why, f"chmod 600 {file}")
        return paramiko.PKey.from_path(file)
    except OSError as error:
        advice = "WAL is archived by the server's user: it must be able to read this file"
        raise unusable(f"{_words(error)} (as user {_user_here()})", advice) from error
    except (ValueError, TypeError, paramiko.SSHException) as error:
        for key in held:
            if key.asbytes() == _public_part(file):
                return key  # the passphrase was typed once, to the agent
        if isinstance(error, ValueError):
            raise unusable("it is not a private key that can be read") from error
        why = "it is protected by a passphrase, and nobody is there to type it"
        advice = f"load it into an agent (ssh-add {file}), or use a key without a passphrase"
        raise unusable(why, advice) from error


def _public_part(file: str) -> bytes | None:
    import base64

    try:
        with open(f"{file}.pub", "rb") as opened:
            return base64.b64decode(opened.read(1 << 16).split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _start_sftp(place: SftpAddress, action: str, transport: paramiko.Transport) -> paramiko.Channel:
    try:
        channel = transport.open_session(timeout=place.timeout)
        channel.settimeout(place.timeout)
        channel.invoke_subsystem("sftp")
    except paramiko.SSHException as error:
        if not transport.is_active():
            raise
        why = f"the server has no SFTP for this user ({_words(error)})"
        advice = "its sshd_config needs: Subsystem sftp internal-sftp"
        raise failures.SftpRefused(place.url, action, why, advice) from error
    return channel


def _close_channel(channel: paramiko.Channel) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):  # the line may be broken
        channel.close()


def _close(transport: paramiko.Transport | None, sock: socket.socket) -> None:
    with suppress(OSError):  # ends the wait of the transport's thread at once
        sock.shutdown(socket.SHUT_RDWR)
    if transport is not None:
        transport.close()
    sock.close()


def _words(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) else str(error)
    return (said or str(error) or type(error).__name__).lower().rstrip(".")


def _user_of(place: SftpAddress) -> str:
    return place.user or _user_here()


def _user_here() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _nothing() -> None:
    """Do nothing, in place of paramiko."""
