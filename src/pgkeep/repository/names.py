"""Where everything lives in a repository; docs/formats/repository.md is the list for people."""

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final

MARKER: Final = "pgkeep.json"
KEYS: Final = "keys/"
CLUSTERS: Final = "clusters/"
ACTS: Final = "acts/"
_FIRST: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_CHARACTERS: Final = _FIRST | frozenset("._-")
_LENGTH: Final = 63


class BadName(PgkeepError):
    """A cluster or repository name that could not be a folder everywhere."""

    code = "bad-name"
    exit_status = 15

    name: str

    def __str__(self) -> str:
        return f"{self.name!r} cannot be the name of a cluster"

    @property
    def hint(self) -> str:
        return "use 1 to 63 letters, digits, '-', '_' and '.', beginning with a letter or digit"


def cluster_prefix(cluster: str) -> str:
    fits = _CHARACTERS.issuperset(cluster) and len(cluster) <= _LENGTH
    if not fits or cluster[:1] not in _FIRST:
        raise BadName(cluster)
    return f"{CLUSTERS}{cluster}/"


def generation(cluster: str, generation_id: str) -> str:
    return f"{generations_prefix(cluster)}{generation_id}.json"


def generations_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}generations/"


def writer(cluster: str, generation_id: str, writer_name: str) -> str:
    """Return the object that says who archives: beside the generation, so one listing has both."""
    return f"{generations_prefix(cluster)}{generation_id}.writer/{writer_name}.json"


def backups_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}backups/"


def manifest(cluster: str, backup_id: str) -> str:
    return f"{backups_prefix(cluster)}{backup_id}/manifest"


def dumps_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}dumps/"


def dump(cluster: str, dump_id: str) -> str:
    """Return the manifest of a logical backup."""
    return f"{dumps_prefix(cluster)}{dump_id}/manifest"


def pack(cluster: str, pack_id: bytes) -> str:
    """Packs are spread over 256 folders by the first byte of their random id."""
    name = pack_id.hex()
    return f"{cluster_prefix(cluster)}packs/{name[:2]}/{name}"


def wal_prefix(cluster: str, generation_id: str) -> str:
    return f"{cluster_prefix(cluster)}wal/{generation_id}/"


def wal(cluster: str, generation_id: str, file: str) -> str:
    """Return the object of a segment, .partial, .backup or .history file.

    Segments are in wal/<generation>/<timeline>/<first 8 digits of the position>/, so that no folder
    holds more than 4096 of them.
    """
    prefix = wal_prefix(cluster, generation_id)
    if file.endswith(".history"):
        return f"{prefix}{file}"
    return f"{prefix}{file[:8]}/{file[8:16]}/{file}"


def lock(cluster: str, lock_id: str) -> str:
    return f"{cluster_prefix(cluster)}locks/{lock_id}.json"


def packs_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}packs/"


def attempts_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}attempts/"


def attempt(cluster: str, backup_id: str) -> str:
    """Return the object that a backup keeps while it is not complete."""
    return f"{attempts_prefix(cluster)}{backup_id}.json"


def pins_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}pins/"


def pin(cluster: str, backup_id: str, pin_id: str) -> str:
    """Return the object that keeps a backup from expiring; a backup may have several."""
    return f"{pins_prefix(cluster)}{backup_id}/{pin_id}.json"


def proofs_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}proofs/"


def proof(cluster: str, proof_id: str) -> str:
    """Return the object that tells what a verify looked at, and found."""
    return f"{proofs_prefix(cluster)}{proof_id}.json"


def drills_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}drills/"


def drill(cluster: str, drill_id: str) -> str:
    """Return the object that tells how a restore test went."""
    return f"{drills_prefix(cluster)}{drill_id}.json"


def lost_wal_prefix(cluster: str, generation_id: str) -> str:
    return f"{cluster_prefix(cluster)}lost/{generation_id}/"


def lost_wal(cluster: str, generation_id: str, first: str, last: str) -> str:
    """Return the object that tells why segments were never archived."""
    return f"{lost_wal_prefix(cluster, generation_id)}{first}-{last}.json"


def census_prefix(cluster: str) -> str:
    return f"{cluster_prefix(cluster)}census/"


def census(cluster: str, census_id: str) -> str:
    """Return the object that tells the names of what there was at a moment."""
    return f"{census_prefix(cluster)}{census_id}"


def acts_prefix(cluster: str) -> str:
    """Return where a cluster's acts are; '' for those of the whole repository."""
    return f"{cluster_prefix(cluster)}{ACTS}" if cluster else ACTS


def act(cluster: str, act_id: str, what: str) -> str:
    """Return the object that tells of one act."""
    return f"{acts_prefix(cluster)}{act_id}.{what}.json"
