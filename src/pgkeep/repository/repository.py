"""A repository and the clusters in it. On disk: docs/formats/repository.md."""

import os
from collections.abc import Callable

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import TYPE_CHECKING, Final, NamedTuple
from pgkeep.repository import names
from pgkeep.repository.claims import writers
from pgkeep.repository.marker import (
    ENCRYPTED,
    NOT_ENCRYPTED,
    AlreadyARepository,
    Marker,
    already,
    create_marker,
    encode_document,
    format_moment,
    read_document,
    read_marker,
)
from pgkeep.repository.seal import Damaged, Key, Sealer
from pgkeep.repository.store.base import BlobExists, BlobMissing, Store
from pgkeep.repository.wal_archive import WalArchive

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Literal

    from pgkeep.model.cluster import Generation

    Encryption = Literal["none", "passphrase"]

_GENERATION_NUMBERS: Final = ("major", "segment_size", "block_size", "segment_blocks")


class PlaceTaken(PgkeepError):
    """A repository cannot be made where something else is stored. It was left alone."""

    code = "place-taken"
    exit_status = 44

    store: str
    example: str

    def __str__(self) -> str:
        return (
            f"cannot make a repository in {self.store}: "
            f"it is not empty, {self.example} is there and is not of a repository"
        )

    @property
    def hint(self) -> str:
        return "give an empty directory as url; pgkeep makes it if it is not there"


class NotEncrypted(PgkeepError):
    """A passphrase was given, but what is stored could be read without it."""

    code = "not-encrypted"
    exit_status = 39

    store: str

    def __str__(self) -> str:
        return f"cannot use {self.store} with a passphrase: the repository is not encrypted"

    @property
    def hint(self) -> str:
        return (
            'if that is meant, set encryption = "none" in [repository]; if it was encrypted once, '
            "somebody replaced pgkeep.json: write nothing there"
        )


class GenerationDiffers(PgkeepError):
    """A cluster does not look as it was recorded, under the same system identifier."""

    code = "generation-differs"
    exit_status = 43

    generation: str
    recorded: str
    found: str

    def __str__(self) -> str:
        return (
            f"cannot store more of cluster generation {self.generation}: "
            f"it was recorded with {self.recorded}, and now has {self.found}"
        )

    @property
    def hint(self) -> str:
        return (
            "pg_resetwal --wal-segsize changes this, and its WAL no longer fits the old one: "
            "go on under another cluster name"
        )


class UnknownGeneration(PgkeepError):
    """WAL of a system identifier or version that the repository doesn't know for this cluster."""

    code = "unknown-generation"
    exit_status = 73

    what: str  # 'archive 000000010000000000000007'
    found: str  # '18-7710983248089545577'; only the identifier where the version is not known
    cluster: str
    repository: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        if not self.known:
            return f"cannot {self.what}: cluster {self.cluster} is not set up in {self.repository}"
        return (
            f"cannot {self.what}: it belongs to {_spell(self.found)}, and cluster {self.cluster} "
            f"in {self.repository} is {' and '.join(map(_spell, self.known))}"
        )

    @property
    def hint(self) -> str:
        if not self.known:
            return f"set it up with: pgkeep --cluster {self.cluster} init"
        return (
            "was this server upgraded or initialised again? then: pgkeep "
            f"--cluster {self.cluster} init --new-generation. Is it a copy of another one? then "
            "set archive_mode = off here, or give it a cluster name of its own"
        )


class Repository:
    """An open repository. Holds no handles: it may be used across fork and from several threads."""

    __slots__ = ("id", "key", "store")

    def __init__(self, store: Store, id: str, key: Key | None) -> None:
        self.store = store
        self.id = id
        self.key = key

    @staticmethod
    def create(
        store: Store,
        encryption: "Encryption",
        secret: str | None,
        *,
        now: "datetime | None" = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> "Repository":
        """Make a repository in an empty place. Raise AlreadyARepository or PlaceTaken."""
        demand_empty(store)
        from datetime import UTC, datetime

        now = now or datetime.now(UTC)
        made = format_moment(now)
        repository_id = random(16).hex()
        if encryption == "none":
            if secret is not None:
                raise NotEncrypted(store.url)
            create_marker(store, Marker(repository_id, made, NOT_ENCRYPTED, None))
            return Repository(store, repository_id, None)
        from pgkeep.repository import keys

        if secret is None:
            raise keys.KeyNeeded(store.url)
        key = Key(random(32))
        # The slot first: a marker without one would be a repository that nobody can open. A slot
        # without a marker holds a key that nothing is sealed with, and is passed over later.
        slot = keys.write_passphrase_slot(store, key, keys.NewSlot(secret, "", now, random))
        try:
            create_marker(store, Marker(repository_id, made, ENCRYPTED, key.check.hex()))
        except AlreadyARepository:  # another init was faster: leave nothing of ours in it
            store.delete(f"{names.KEYS}{slot}.json")
            raise
        return Repository(store, repository_id, key)

    @staticmethod
    def open(store: Store, secret: str | None) -> "Repository":
        """Raise NotARepository, FormatTooNew, KeyNeeded, WrongKey, BadSecret or Damaged."""
        marker = read_marker(store)
        if marker.encryption == NOT_ENCRYPTED:
            # Whoever can write to the store could have replaced the marker, to be sent our data.
            if secret is not None:
                raise NotEncrypted(store.url)
            return Repository(store, marker.repository_id, None)
        from pgkeep.repository import keys

        if secret is None:
            raise keys.KeyNeeded(store.url)
        key = keys.unlock(store, secret, marker)
        return Repository(store, marker.repository_id, key)

    def sealer(self, level: int = 1) -> Sealer:
        """Return a sealer for one thread."""
        return Sealer(self.key, level)

    def clusters(self) -> list[str]:
        """Return the names of all clusters. Goes through the names of everything stored."""
        blobs = self.store.list(names.CLUSTERS)
        return sorted({blob.name.split("/", 2)[1] for blob in blobs if blob.name.count("/") > 1})

    def cluster(self, name: str) -> "ClusterFolder":
        """Return one cluster's part, which may still be empty. Raise BadName."""
        names.cluster_prefix(name)
        return ClusterFolder(self, name)

    def __repr__(self) -> str:
        return f"Repository({self.store.url!r}, id={self.id!r}, key={self.key!r})"


class Archiving(NamedTuple):
    """What a WAL command must know of a cluster, as the names in its folder tell it."""

    generation_ids: tuple[str, ...]
    writers: "dict[str, writers.Writer]"  # who archives, by generation


class ClusterFolder:
    """One cluster's part of a repository."""

    __slots__ = ("name", "repository")

    def __init__(self, repository: Repository, name: str) -> None:
        self.repository = repository
        self.name = name

    @property
    def store(self) -> Store:
        return self.repository.store

    def archiving(self) -> "Archiving":
        """Return the generations and who archives each, by names alone, in one listing."""
        prefix = names.generations_prefix(self.name)
        ids: list[str] = []
        texts: dict[str, list[str]] = {}
        for blob in self.store.list(prefix):
            folder, _, file = blob.name.removeprefix(prefix).rpartition("/")
            text = file.removesuffix(".json")
            if not folder and text != file:
                ids.append(text)
            elif folder.endswith(".writer"):
                texts.setdefault(folder.removesuffix(".writer"), []).append(text)
        found = {id: writers.newest(those) for id, those in texts.items()}
        return Archiving(tuple(ids), {id: one for id, one in found.items() if one is not None})

    def generation_ids(self) -> list[str]:
        """Return the ids alone, without reading anything but names."""
        return list(self.archiving().generation_ids)

    def generations(self) -> "list[Generation]":
        """Return what initdb and pg_upgrade have made of this cluster, by major version."""
        from functools import partial

        from pgkeep.repository.store.distance.at_once import (
            at_once,
        )  # threads: not for WAL commands

        ids = self.generation_ids()
        found = at_once(self.store, (partial(self.generation, id) for id in ids))
        return sorted(found, key=lambda g: (g.major, g.system_identifier))

    def generation(self, generation_id: str) -> "Generation":
        """Raise BlobMissing, Damaged or FormatTooNew."""
        from pgkeep.model.cluster import Generation

        name = names.generation(self.name, generation_id)
        facts = read_document(self.store, name)
        try:
            numbers = [int(facts["system_identifier"])]
            numbers += [int(facts[number]) for number in _GENERATION_NUMBERS]
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(name, f"a fact is missing or wrong ({error})") from error
        found = Generation(*numbers)
        if found.id != generation_id:
            raise Damaged(name, f"it holds the facts of {found.id}")
        return found

    def add_generation(self, generation: "Generation") -> None:
        """Record a generation, once. Raise GenerationDiffers if it is recorded otherwise."""
        recorded = self._recorded(generation) or self._record(generation)
        if recorded != generation:
            raise GenerationDiffers(generation.id, _sizes(recorded), _sizes(generation))

    def _recorded(self, generation: "Generation") -> "Generation | None":
        """Look first: all but the first backup find it there."""
        try:
            return self.generation(generation.id)
        except BlobMissing:
            return None

    def _record(self, generation: "Generation") -> "Generation":
        """Return what is recorded: this, or what another one was quicker to record."""
        numbers = {name: getattr(generation, name) for name in _GENERATION_NUMBERS}
        # A string, because JSON readers elsewhere lose digits of 64-bit numbers.
        facts = {"system_identifier": str(generation.system_identifier), **numbers}
        try:
            self.store.create(names.generation(self.name, generation.id), [encode_document(facts)])
        except BlobExists:
            return self.generation(generation.id)
        return generation

    def wal(self, generation_id: str) -> WalArchive:
        """Return the archive of one generation's WAL, which may still be empty."""
        return WalArchive(self.store, self.repository.key, self.name, generation_id)

    def __repr__(self) -> str:
        return f"ClusterFolder({self.repository!r}, {self.name!r})"


def demand_empty(store: Store) -> None:
    """Raise AlreadyARepository or PlaceTaken unless a repository can be made here."""
    for blob in store.list():
        if blob.name == names.MARKER:
            raise already(store)
        # Key slots without a marker are what an init that was killed leaves behind.
        if not blob.name.startswith(names.KEYS):
            if any(other.name == names.MARKER for other in store.list(names.MARKER)):
                raise already(store)
            raise PlaceTaken(store.url, blob.name)


def _sizes(generation: "Generation") -> str:
    return (
        f"WAL segments of {generation.segment_size} bytes, blocks of {generation.block_size} bytes "
        f"and {generation.segment_blocks} blocks a file"
    )


def _spell(generation: str) -> str:
    major, _, identifier = generation.rpartition("-")
    version = f" (PostgreSQL {major})" if major else ""
    return f"system identifier {identifier}{version}"
