"""Where one WAL command finds its cluster: from the command line alone, or with the config."""

from pgkeep import config_file
from pgkeep.errors import PgkeepError
from pgkeep.light_typing import NamedTuple, Protocol
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import open_store


class Place(Protocol):
    """The part of a command line that says which cluster of which repository is meant."""

    @property
    def config(self) -> str | None: ...
    @property
    def cluster(self) -> str | None: ...
    @property
    def repository(self) -> str | None: ...


class Opened(NamedTuple):
    """A cluster's part of an open repository, and how to write there."""

    cluster: ClusterFolder
    level: int = 1  # of compression


def open_cluster(place: Place) -> Opened:
    """Open the repository and return the cluster's part of it, which may be unknown to it still.

    With a repository and a cluster named, no config is read, unless a passphrase is needed that
    the environment doesn't hold.
    """
    if place.repository is not None and place.cluster is not None:
        return Opened(_open(place.repository, place, None).cluster(place.cluster))
    path, config = config_file.load(place.config)
    cluster = config_file.choose_cluster(path, config, place.cluster)
    url = place.repository or config_file.repository_url(path, config)
    table = config_file.repository_table(path, config)
    # Asked for it up front where encryption is configured: a marker that was replaced by one
    # without encryption is then noticed before WAL is stored in the clear.
    encrypted = table.get("encryption") == "passphrase"
    secret = config_file.read_secret(path, table) if encrypted else None
    level = table.get("compression_level", 1)
    if not isinstance(level, int) or not 1 <= level <= 19:
        raise config_file.ConfigValue(path, "repository.compression_level", "it must be 1 to 19")
    return Opened(_open(url, place, secret).cluster(cluster), level)


def _open(url: str, place: Place, secret: str | None) -> Repository:
    store = open_store(url)
    try:
        return Repository.open(store, secret)
    except PgkeepError as error:
        from pgkeep.repository.keys import KeyNeeded  # not imported unless something went wrong

        if not isinstance(error, KeyNeeded) or secret is not None:
            raise
        secret = _secret(place)
        if secret is None:
            raise
    return Repository.open(store, secret)


def _secret(place: Place) -> str | None:
    given = config_file.secret_from_environment()
    if given is not None:
        return given
    try:
        path, config = config_file.load(place.config)
    except config_file.ConfigMissing:
        if place.config is not None:
            raise
        return None
    return config_file.read_secret(path, config_file.repository_table(path, config))
