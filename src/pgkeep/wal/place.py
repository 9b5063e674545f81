"""Where one WAL command finds its cluster: from the command line alone, or with the config."""

from collections.abc import Callable, Mapping
from functools import partial

from pgkeep import config_file
from pgkeep.errors import PgkeepError
from pgkeep.light_typing import NamedTuple, Protocol
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.store.open import open_store
from pgkeep.wal.push import Rights


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
    rights: Rights = Rights()


class Candidates(NamedTuple):
    """The repositories that may serve, in order; each is opened when its turn comes."""

    each: tuple[Callable[[], Opened], ...]
    all_of_them: bool = False  # what is written must be in all of them


def to_write(place: Place) -> Candidates:
    """Return where WAL goes: to one of them, or to all. Raise what is wrong with the config."""
    return _candidates(place, config_file.writing)


def to_read(place: Place) -> Candidates:
    """Return where WAL may be found. Raise what is wrong with the config."""
    return _candidates(place, lambda path, config: (_tables(path, config), False))


def open_cluster(place: Place) -> Opened:
    """Open the first repository and return the cluster's part of it, which may be unknown to it."""
    return to_read(place).each[0]()


_Choice = Callable[[str, config_file.Table], tuple[list[config_file.Table], bool]]
_tables = config_file.repository_tables


def _candidates(place: Place, choose: _Choice) -> Candidates:
    """Read the config if it is needed.

    With a repository's address and a cluster named it isn't, unless a passphrase is needed that the
    environment doesn't hold.
    """
    wanted = place.repository
    is_address = wanted is not None and ("/" in wanted or ":" in wanted)
    if wanted is not None and is_address and place.cluster is not None:
        address, name = wanted, place.cluster
        return Candidates((lambda: Opened(_open(address, place, None).cluster(name)),))
    path, config = config_file.load(place.config)
    cluster = config_file.choose_cluster(path, config, place.cluster)
    tables, all_of_them = choose(path, config)
    if wanted is not None:
        named = [t for t in _tables(path, config) if config_file.repository_name(t) == wanted]
        if named:
            tables, all_of_them, wanted = named, False, None
        else:
            tables = _tables(path, config)[:1]
    open_one = partial(
        _open_table, place, path, _rights(path, config, cluster), cluster=cluster, address=wanted
    )
    each = tuple(partial(open_one, table) for table in tables)
    return Candidates(each, all_of_them)


def _rights(path: str, config: Mapping[str, object], cluster: str) -> Rights:
    clusters = config.get("clusters")
    table = clusters.get(cluster) if isinstance(clusters, dict) else None
    if not isinstance(table, dict):
        return Rights()
    others = table.get("may_take_over", [])
    if not isinstance(others, list):
        key = f"clusters.{cluster}.may_take_over"
        raise config_file.ConfigValue(path, key, "it must be a list of names")
    return Rights(str(table.get("server_name", "")), tuple(map(str, others)))


def _open_table(  # noqa: PLR0913  # all but two are the call's own
    place: Place,
    path: str,
    rights: Rights,
    table: Mapping[str, object],
    *,
    cluster: str,
    address: str | None,
) -> Opened:
    """Open a repository of the config, or another one by its settings."""
    url = address or config_file.repository_url(path, table)
    # Asked for it up front where encryption is configured: a marker that was replaced by one
    # without encryption is then noticed before WAL is stored in the clear.
    encrypted = table.get("encryption") == "passphrase"
    secret = config_file.read_secret(path, table) if encrypted else None
    level = table.get("compression_level", 1)
    if not isinstance(level, int) or not 1 <= level <= 19:
        raise config_file.ConfigValue(path, "repository.compression_level", "it must be 1 to 19")
    return Opened(_open(url, place, secret, table).cluster(cluster), level, rights)


def _open(
    url: str, place: Place, secret: str | None, table: Mapping[str, object] | None = None
) -> Repository:
    store = open_store(url)
    try:
        return Repository.open(store, secret)
    except PgkeepError as error:
        from pgkeep.repository.keys import KeyNeeded  # not imported unless something went wrong

        if not isinstance(error, KeyNeeded) or secret is not None:
            raise
        secret = _secret(place, table)
        if secret is None:
            raise
    return Repository.open(store, secret)


def _secret(place: Place, table: Mapping[str, object] | None) -> str | None:
    given = config_file.secret_from_environment()
    if given is not None:
        return given
    try:
        path, config = config_file.load(place.config)
    except config_file.ConfigMissing:
        if place.config is not None:
            raise
        return None
    return config_file.read_secret(path, table or _tables(path, config)[0])
