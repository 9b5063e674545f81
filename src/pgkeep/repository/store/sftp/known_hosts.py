"""What a known_hosts file says of a host: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. Pure."""

import base64
import binascii
import hmac
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple


class HostKey(NamedTuple):
    """A key that a file names for a host."""

    kind: str  # 'ssh-ed25519'
    blob: bytes
    revoked: bool
    place: str  # the file it stands in


def keys_of(host: str, lines: Iterable[str], place: str) -> list[HostKey]:
    """Return the keys named for `host`, which is 'name' or '[name]:port'.

    Lines that cannot be read are passed over, as ssh does. Certificate authorities are left out:
    a host that is known only by one is not known.
    """
    found = []
    for line in lines:
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", "@revoked"):
            continue
        names, kind, encoded = fields[:3]
        try:
            blob = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            continue
        if _names(names.split(","), host):
            found.append(HostKey(kind, blob, bool(marker), place))
    return found


def fingerprint(blob: bytes) -> str:
    """Return a key's fingerprint as ssh-keygen -l prints it."""
    import hashlib

    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _names(patterns: list[str], host: str) -> bool:
    """Tell whether a host is meant; a pattern with '!' that fits takes it out again."""
    host = host.lower()
    positive = False
    for pattern in patterns:
        if pattern.startswith("|1|"):
            positive = positive or _is_hash_of(pattern, host)
        elif pattern.startswith("!"):
            if _fits(pattern[1:], host):
                return False
        else:
            positive = positive or _fits(pattern, host)
    return positive


def _fits(pattern: str, host: str) -> bool:
    # '[' begins '[name]:port' here, and no set of characters.
    return fnmatchcase(host, pattern.lower().replace("[", "[[]"))


def _is_hash_of(hashed: str, host: str) -> bool:
    try:
        salt, digest = map(base64.b64decode, hashed.split("|")[2:])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.digest(salt, host.encode(), "sha1"), digest)
