"""Makes an empty place a copy of a repository. On disk: docs/formats/repository.md, "Copies"."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from pgkeep.repository import keys, names
from pgkeep.repository.copies.identity import AnotherRepository, demand_marker_of
from pgkeep.repository.marker import (
    ENCRYPTED,
    NOT_ENCRYPTED,
    AlreadyARepository,
    Marker,
    NotARepository,
    create_marker,
    format_moment,
)
from pgkeep.repository.repository import NotEncrypted, Repository, demand_empty
from pgkeep.repository.seal import Damaged, WrongKey
from pgkeep.repository.store.base import Store


class Made(NamedTuple):
    """A copy, ready to be filled."""

    repository: Repository
    created: bool  # by this call; else it was a copy already
    recovery_key: str | None = None  # of a new encrypted one: shown this once, stored nowhere

    def __repr__(self) -> str:
        return f"Made({self.repository!r}, created={self.created})"


def make_copy(
    source: Repository,
    target: Store,
    secret: str | None,
    *,
    now: datetime | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> Made:
    """Make `target` a copy of `source`, or open the copy that it is; `secret` opens the copy.

    A copy has the same id and master key, and key slots of its own. Killed anywhere it leaves an
    empty place that is taken up by the next call; of two calls at once one makes it and the other
    adopts it. Raise AnotherRepository, PlaceTaken, KeyNeeded, NotEncrypted, WrongKey.
    """
    try:
        return _adopt(source, target, secret)
    except NotARepository:
        pass
    try:
        demand_empty(target)
        return _create(source, target, secret, _New(now or datetime.now(UTC), random))
    except AlreadyARepository:  # another one was faster
        return _adopt(source, target, secret)


def demand_place(source: Repository, target: Store) -> bool:
    """Tell whether `target` is a copy already. Raise AnotherRepository or PlaceTaken."""
    try:
        demand_marker_of(source, target)
    except NotARepository:
        demand_empty(target)
        return False
    return True


class _New(NamedTuple):
    """What makes a new copy differ from others."""

    now: datetime
    random: Callable[[int], bytes]


def _adopt(source: Repository, target: Store, secret: str | None) -> Made:
    # The marker first: the secret of another repository must not be tried here.
    demand_marker_of(source, target)
    return Made(Repository.open(target, secret), created=False)


def _create(source: Repository, target: Store, secret: str | None, new: _New) -> Made:
    made = format_moment(new.now)
    if source.key is None:
        if secret is not None:
            raise NotEncrypted(target.url)
        create_marker(target, Marker(source.id, made, NOT_ENCRYPTED, None))
        return Made(Repository(target, source.id, None), created=True)
    if secret is None:
        raise keys.KeyNeeded(target.url)
    marker = Marker(source.id, made, ENCRYPTED, source.key.check.hex())
    # The slot before the marker, as init does: a marker without one would be a copy that nobody can
    # open. One that was left by a call that died holds this very key, and is used again.
    slot = None
    if not _opens(target, secret, marker):
        slot = keys.write_passphrase_slot(target, source.key, keys.NewSlot(secret, "", *new))
    try:
        create_marker(target, marker)
    except AlreadyARepository:
        if slot is not None:
            _withdraw(source, target, slot)
        raise
    copy = Repository(target, source.id, source.key)
    return Made(copy, True, keys.add_recovery_key(copy, "made by pgkeep copy"))


def _opens(target: Store, secret: str, marker: Marker) -> bool:
    """Tell whether a slot that is there already opens the copy with this secret."""
    try:
        keys.unlock(target, secret, marker)
    except (WrongKey, Damaged):  # also when there is no slot at all
        return False
    return True


def _withdraw(source: Repository, target: Store, slot: str) -> None:
    """Leave no slot of ours in a repository that another init made here meanwhile.

    Where it is a copy of the same, the slot opens it, and stays.
    """
    try:
        demand_marker_of(source, target)
    except AnotherRepository:
        target.delete(f"{names.KEYS}{slot}.json")
