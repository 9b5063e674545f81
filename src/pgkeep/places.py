"""The repositories that a run may use: opened one by one, or read as one where they are copies."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from pgkeep import config_file
from pgkeep.errors import PgkeepError
from pgkeep.repository.keys import KeyNeeded
from pgkeep.repository.marker import NotARepository
from pgkeep.repository.metering.opening import open_metered
from pgkeep.repository.metering.prices import Prices, Tariff, list_prices
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Damaged, FormatTooNew, WrongKey
from pgkeep.repository.store.access import LIST_PRICE, RepositoryConfig
from pgkeep.repository.store.base import BlobExists, Store, StoreFailed
from pgkeep.repository.store.copies import Copies
from pgkeep.repository.store.open import make_store

if TYPE_CHECKING:
    from pgkeep.repository.acts.act import Act
    from pgkeep.repository.copies.make import Made

AWAY = (StoreFailed, NotARepository)  # not there, not now, or not yet
UNUSABLE = (Damaged, FormatTooNew, KeyNeeded, WrongKey)  # there, and of no use to this run


class NotACopy(PgkeepError):
    """Two repositories of one config are not copies of one another."""

    code = "not-a-copy"
    exit_status = 55

    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"cannot use {self.second} beside {self.first}: "
            "it is a repository of its own, not a copy"
        )

    @property
    def hint(self) -> str:
        return (
            "give an empty place as url of the second and run pgkeep init, which makes it a copy; "
            "one that goes its own way is used with --repository URL"
        )


class NoSuchRepository(NotARepository):
    """A repository is meant by a name that none of the config's has."""

    code = "no-such-repository"

    known: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"cannot find repository {self.store}: the config has {', '.join(self.known)}"

    @property
    def hint(self) -> str:
        return f"name one of them; a directory of that name here is written ./{self.store}"


class Place(NamedTuple):
    """A repository that the config, or the command line, names."""

    name: str  # '' for the only one
    address: str
    section: RepositoryConfig
    read_secret: Callable[[], str | None] | None  # None: only the environment has it

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.address

    @property
    def plain_address(self) -> str:
        """Where it is, without how to get there."""
        return self.address.partition("?")[0]

    @property
    def tariff(self) -> Tariff:
        """What its provider takes."""
        given, known = self.section.prices, list_prices(self.address)
        if known.free and all(price == LIST_PRICE for price in structs.astuple(given)):
            return Tariff(known, listed=False)
        prices = [
            at_list if price == LIST_PRICE else price
            for price, at_list in zip(structs.astuple(given), known, strict=True)
        ]
        return Tariff(Prices(*prices), listed=LIST_PRICE in structs.astuple(given))

    @property
    def secret_lasts(self) -> bool:
        """Whether the config says what opens it: the environment is this process's alone."""
        return bool(self.section.passphrase_file or self.section.passphrase_command)

    def secret(self) -> str | None:
        """Return the passphrase or recovery key, or None where none is given."""
        if self.read_secret is None:
            return config_file.secret_from_environment()
        return self.read_secret()

    def open(self, store: Store | None = None) -> Repository:
        """Open the repository that is there. Raise NotARepository, KeyNeeded, WrongKey, ..."""
        store = store or open_metered(self.address)
        # Asked for up front where the config expects encryption: a marker that somebody replaced
        # by one without is noticed then, before anything is stored in the clear.
        expected = self.section.encryption != "none"
        try:
            return Repository.open(store, self.secret() if expected else None)
        except KeyNeeded:
            secret = None if expected else self.secret()
            if secret is None:
                raise
            return Repository.open(store, secret)

    def make_copy(self, origin: Repository) -> "Made":
        """Make this place a copy of `origin`, or open the copy it is. Raise as make_copy() does."""
        from pgkeep.repository.copies.make import make_copy

        # Where the config expects encryption the secret is given, whatever the source is like: then
        # a copy in the clear is refused.
        expected = origin.key is not None or self.section.encryption != "none"
        secret = self.secret() if expected else None
        return make_copy(origin, make_store(self.address), secret)


class OpenedCopies(NamedTuple):
    """What could be opened of a repository's copies, as one."""

    repository: Repository
    away: tuple[tuple[Place, PgkeepError], ...]  # what could not, and why

    def notes(self) -> list[str]:
        """Return what a person should know of what was read; of reads, only once."""
        union = self.repository.store.union
        told = [
            f"repository {place.title} was not asked, what only it has is not shown: {error}"
            for place, error in self.away
        ]
        return told + ([] if union is None else list(union.drain_notes()))


def open_copies(places: Sequence[Place]) -> OpenedCopies:
    """Open all places that can be opened. Raise what is wrong with the first if none can.

    Raise NotACopy when two of them are repositories of their own.
    """
    opened: list[Repository] = []
    away: list[tuple[Place, PgkeepError]] = []
    unopened: list[tuple[Store, StoreFailed]] = []
    for place in places:
        store = open_metered(place.address)
        try:
            opened.append(place.open(store))
        except StoreFailed as error:
            away.append((place, error))
            unopened.append((store, error))
        except NotARepository as error:  # it answered: there is nothing in it
            away.append((place, error))
        except UNUSABLE as error:  # there may be more in it than anybody can tell
            away.append((place, error))
            unopened.append((store, StoreFailed(store.url, "open the repository", str(error))))
    if not opened:
        raise away[0][1]
    first = opened[0]
    for other in opened[1:]:
        if other.id != first.id:
            raise NotACopy(first.store.url, other.store.url)
    if len(opened) + len(unopened) == 1:
        return OpenedCopies(first, tuple(away))
    union = Copies([repository.store for repository in opened], unopened)
    return OpenedCopies(Repository(union, first.id, first.key), tuple(away))


class NotRecorded(NamedTuple):
    """A repository that an act could not be written to, and why."""

    place: Place
    error: PgkeepError


def record_everywhere(places: Sequence[Place], act: "Act") -> tuple[NotRecorded, ...]:
    """Write an act to every repository that takes it; return those that did not.

    Raise what is wrong with the first when none has taken it.
    """
    from pgkeep.repository.acts.storing import record_act

    failed = []
    for place in places:
        try:
            record_act(place.open(), act)
        except BlobExists:
            continue  # two places share a store: it is there
        except PgkeepError as error:
            failed.append(NotRecorded(place, error))
    if len(failed) == len(places):
        raise failed[0].error
    return tuple(failed)


class OpenPlace(NamedTuple):
    """A place, and the repository in it."""

    place: Place
    repository: Repository


def first_working(places: Sequence[Place], note: Callable[[str], object]) -> OpenPlace:
    """Return the first place that can be opened; `note` hears why others cannot."""
    failed: PgkeepError | None = None
    for place in places:
        try:
            repository = place.open()
        except AWAY as error:
            failed = failed or error
            continue
        if failed is not None:
            note(f"{failed}: using repository {place.title} instead")
        return OpenPlace(place, repository)
    assert failed is not None
    raise failed


def absolute(address: str) -> str:
    """Return an address from the command line as it is seen from everywhere."""
    return address if ":" in address else os.path.abspath(address)
