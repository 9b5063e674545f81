"""Where a store is: on which device of which host, or with which provider. Facts, no promises."""

import os
import socket
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

_MOUNTS: Final = "/proc/self/mountinfo"
_NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "glusterfs", "ceph", "9p")
# Hosts of services that are at no customer's site, by the end of their names.
_CLOUDS: Final = {
    "amazonaws.com": "Amazon S3",
    "amazonaws.com.cn": "Amazon S3",
    "googleapis.com": "Google Cloud Storage",
    "core.windows.net": "Azure Blob Storage",
    "r2.cloudflarestorage.com": "Cloudflare R2",
    "backblazeb2.com": "Backblaze B2",
    "wasabisys.com": "Wasabi",
    "digitaloceanspaces.com": "DigitalOcean Spaces",
    "scw.cloud": "Scaleway",
    "your-objectstorage.com": "Hetzner Object Storage",
    "cloud.ovh.net": "OVHcloud",
    "linodeobjects.com": "Akamai Object Storage",
}
_DEFAULT_HOSTS: Final = {
    "s3": "s3.amazonaws.com",
    "gs": "storage.googleapis.com",
    "az": "blob.core.windows.net",
}


class Location(NamedTuple):
    """What is known of a place where data is kept."""

    medium: str  # what fails as one; equal texts are the same one
    elsewhere: bool | None  # not on this host, but where a provider has it; None: cannot be told
    where: str  # for people


def locate(address: str) -> Location:
    """Tell where the store of this address is. Asks the system and the resolver, nobody else."""
    if address.startswith("/"):
        return of_path(address)
    parts = urlsplit(address)
    if parts.scheme == "sftp":
        host = parts.hostname or ""
        if _is_here(host):
            return Location(f"sftp on host {os.uname().nodename}", False, "this host, by sftp")
        return Location(f"host {host}", None, f"host {host}, by sftp")
    if parts.scheme in _DEFAULT_HOSTS:
        return _bucket(parts.scheme, parts.netloc, parse_qs(parts.query))
    return Location(address, None, address)


def of_path(path: str) -> Location:
    """Tell on which device a path, or the nearest folder above it that is there, lies."""
    while not os.path.exists(path) and path != "/":
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    source, kind = _mount(f"{os.major(device)}:{os.minor(device)}")
    if kind in _NETWORK:
        server = source.partition(":")[0].strip("/") or source
        return Location(f"{kind} {source}", None, f"{server}, mounted by {kind}")
    host = os.uname().nodename
    shown = source or f"device {os.major(device)}:{os.minor(device)}"
    return Location(f"{shown} of host {host}", False, f"{shown} of this host")


def _bucket(scheme: str, bucket: str, options: dict[str, list[str]]) -> Location:
    endpoint = options.get("endpoint", [""])[0]
    host = urlsplit(endpoint).hostname or _DEFAULT_HOSTS[scheme]
    region = options.get("region", [""])[0]
    found = (n for end, n in _CLOUDS.items() if host == end or host.endswith(f".{end}"))
    provider = next(found, "")
    if provider:
        where = f"{provider}, {region}" if region else provider
        return Location(f"{where}, bucket {bucket}", True, where)
    if _is_here(host):
        return Location(f"{scheme} server on host {os.uname().nodename}", False, "this host")
    return Location(f"{scheme} server {host}, bucket {bucket}", None, f"server {host}")


def _is_here(host: str) -> bool:
    """Tell whether a name leads to this machine itself."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return bool(found) and all(map(_is_own, found))


def _is_own(address: str | int) -> bool:
    """Tell whether an address is one of ours: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _mount(device: str) -> tuple[str, str]:
    """Return the source and the kind of a mounted file system, by its device number: proc(5)."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                fields, _, rest = line.partition(" - ")
                if fields.split()[2] == device:
                    kind, source = rest.split()[:2]
                    return source, kind
    except (OSError, ValueError, IndexError):
        pass
    return "", ""
