"""What goes wrong with a store behind SFTP, and what to do about each."""

import shlex

from pgkeep.repository.store.base import StoreFailed, StoreFull
from pgkeep.repository.store.sftp import protocol
from pgkeep.repository.store.sftp.address import PORT, SftpAddress
from pgkeep.repository.store.sftp.known_hosts import HostKey, fingerprint
from pgkeep.repository.store.sftp.protocol import Room

_NEXT_TO_NOTHING = 1 << 20  # bytes; several writes are on their way when the first one fails
_KEY_FILES = {
    "ssh-ed25519": "ed25519",
    "ecdsa-sha2-nistp256": "ecdsa",
    "ecdsa-sha2-nistp384": "ecdsa",
    "ecdsa-sha2-nistp521": "ecdsa",
}


class SftpLost(StoreFailed):
    """The other machine cannot be reached, or went silent."""

    code = "sftp-connection-lost"


class SftpHostUnknown(StoreFailed):
    """The other machine's key stands in no known_hosts file."""

    code = "sftp-host-unknown"
    retryable = False


class SftpHostChanged(StoreFailed):
    """The other machine shows another key than the one that is known, or one that is revoked."""

    code = "sftp-host-changed"
    retryable = False


class SftpKeyRefused(StoreFailed):
    """The other machine doesn't let us in, or we have no key that could be tried."""

    code = "sftp-key-refused"
    retryable = False


class SftpDenied(StoreFailed):
    """The user there may not do what the repository needs."""

    code = "sftp-permission-denied"
    retryable = False


class SftpRefused(StoreFailed):
    """The server there will not or cannot do what the repository needs."""

    code = "sftp-refused"
    retryable = False


def host_unknown(
    place: SftpAddress, action: str, kind: str, blob: bytes, files: list[str]
) -> SftpHostUnknown:
    why = (
        f"the host's key, {kind} {fingerprint(blob)}, is not known: "
        f"{place.host_name} is not in {' or '.join(files)}"
    )
    advice = (
        f"run on the host itself: {_show_fingerprint(kind)}; if it prints that fingerprint, trust "
        f"it here, as the user who runs pgkeep: {_scan(place, kind)} >> {shlex.quote(files[0])}"
    )
    return SftpHostUnknown(place.url, action, why, advice)


def host_changed(
    place: SftpAddress, action: str, kind: str, blob: bytes, known: list[HostKey]
) -> SftpHostChanged:
    file = known[0].place
    expected = ", ".join(sorted({f"{key.kind} {fingerprint(key.blob)}" for key in known}))
    why = f"the host shows the key {kind} {fingerprint(blob)}, but {file} has {expected}"
    forget = f"ssh-keygen -R {shlex.quote(place.host_name)} -f {shlex.quote(file)}"
    advice = (
        "somebody may be in between, or the host was set up anew; run on the host itself: "
        f"{_show_fingerprint(kind)}; only if it prints that fingerprint: "
        f"{forget} && {_scan(place, kind)} >> {shlex.quote(file)}"
    )
    return SftpHostChanged(place.url, action, why, advice)


def host_revoked(place: SftpAddress, action: str, kind: str, key: HostKey) -> SftpHostChanged:
    why = f"the host shows a key that {key.place} calls revoked: {kind} {fingerprint(key.blob)}"
    return SftpHostChanged(place.url, action, why, "give the host a new key: this one is in use")


def root_missing(place: SftpAddress, action: str) -> StoreFailed:
    why = f"the repository's directory {place.path} is not there"
    advice = f"is it mounted on {place.host}? a new one is made by: pgkeep init"
    return StoreFailed(place.url, action, why, advice)


def not_a_folder(place: SftpAddress, action: str, path: str) -> SftpRefused:
    why = f"{path} is not a directory there"
    return SftpRefused(place.url, action, why, "there is a file where a directory belongs")


def cannot_replace(place: SftpAddress, action: str) -> SftpRefused:
    why = "the server does not offer posix-rename@openssh.com, so nothing can be replaced safely"
    return SftpRefused(
        place.url, action, why, "let OpenSSH's sftp-server or internal-sftp serve it"
    )


def refused(
    place: SftpAddress, action: str, code: int, words: str, room: Room | None
) -> StoreFailed:
    """Return what a server's refusal means. `room` is what its file system had left just then.

    SFTP has one word, "failure", for a full disk, a quota and a broken disk: sftp-server.c,
    errno_to_portable.
    """
    said = protocol.STATUS_WORDS.get(code, f"status {code}")
    why = said if words.lower() in (said, "") else f"{said} ({words})"
    user = place.user or "the user"
    if code == protocol.PERMISSION_DENIED:
        advice = (
            f"on {place.host}, give {place.path} to the user who logs in: "
            f"chown -R {place.user or 'USER'}; and let his SFTP not be limited (-R, -P)"
        )
        return SftpDenied(place.url, action, why, advice)
    if code != protocol.FAILURE or room is None:
        return SftpRefused(place.url, action, why, f"look at sshd's log on {place.host}")
    if room.read_only:
        advice = f"find out why on {place.host} (dmesg), then mount it read-write"
        return SftpRefused(place.url, action, f"{why}: the file system is read-only", advice)
    if room.files == 0:
        return StoreFull(place.url, action, f"{why}: no file can be made there any more (inodes)")
    if room.free < _NEXT_TO_NOTHING:
        return StoreFull(place.url, action, f"{why}: {room.free} bytes are free there")
    advice = f"a quota of {user}'s (quota -u {user}), or a failing disk (dmesg), on {place.host}"
    return SftpRefused(place.url, action, f"{why}: {room.free} bytes are free there", advice)


def _scan(place: SftpAddress, kind: str) -> str:
    port = "" if place.port == PORT else f"-p {place.port} "
    return f"ssh-keyscan {port}-t {_KEY_FILES.get(kind, 'rsa')} {shlex.quote(place.host)}"


def _show_fingerprint(kind: str) -> str:
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{_KEY_FILES.get(kind, 'rsa')}_key.pub"
