"""Reads and writes acts, which are never changed. On disk: docs/formats/acts.md.

They say who did what with which words: where the repository is encrypted, they are sealed. What
kind an act is stands in its object's name all the same: the newest of a kind is found by listing.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec import to_builtins

from pgkeep.errors import PgkeepError
from pgkeep.repository import names
from pgkeep.repository.acts.act import Act
from pgkeep.repository.marker import (
    format_moment,
    moment_of_id,
    read_whole,
    timed_id,
)
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import ACT, Damaged, FormatTooNew, WrongKey
from pgkeep.repository.sealed_document import decode_sealed, encode_sealed
from pgkeep.repository.store.base import BlobMissing, ShortRead, Store

_LIMIT: Final = 8 << 20  # bytes; a command line has at most 2 MiB, an act as a rule less than 1 KiB
_BAD: Final = (Damaged, FormatTooNew, ShortRead, WrongKey)
_NAME: Final = re.compile(
    r"(?:clusters/(?P<cluster>[^/]+)/)?acts/"
    r"(?P<id>[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{8})\.(?P<what>[a-z][a-z0-9-]*)\.json"
)


class ActName(NamedTuple):
    """What the name of an act's object tells."""

    name: str
    cluster: str
    id: str
    what: str
    at: datetime
    size: int = 0


class UnreadableAct(NamedTuple):
    """An act that tells nothing, and why."""

    name: str
    error: PgkeepError


@dataclass(frozen=True, slots=True)
class Acts:
    """Acts, newest first."""

    found: tuple[Act, ...] = ()
    unreadable: tuple[UnreadableAct, ...] = ()


def act_id(at: datetime, random: Callable[[int], bytes] = os.urandom) -> str:
    """Return a new act's id: its time in UTC and chance, so that names sort by time."""
    return timed_id(at, random(4))


def record_act(repository: Repository, act: Act) -> None:
    """Store an act, once: durable when it returns. Raise BlobExists, or what the store raises."""
    name = names.act(act.cluster, act.id, act.what)
    content = _encode(repository, act)
    _decode(repository, content, name)  # what cannot be read back must not be stored
    repository.store.create(name, [content])


def parse_act_name(name: str, size: int = 0) -> ActName | None:
    """Return what the name of an object tells; None when it is no act's."""
    match = _NAME.fullmatch(name)
    at = moment_of_id(match["id"]) if match else None
    if match is None or at is None:
        return None
    return ActName(name, match["cluster"] or "", match["id"], match["what"], at, size)


def list_acts(repository: Repository, cluster: str = "") -> list[ActName]:
    """Return what names tell of a cluster's acts, or the repository's own; newest first."""
    listed = repository.store.list(names.acts_prefix(cluster))
    found = (parse_act_name(blob.name, blob.size) for blob in listed)
    return sorted(filter(None, found), key=lambda one: one.id, reverse=True)


def acts(
    repository: Repository,
    cluster: str = "",
    *,
    what: str = "",
    since: datetime | None = None,
    limit: int | None = None,
) -> Acts:
    """Read a cluster's acts ('': the repository's own), newest first, at most `limit` of them.

    An unreadable one is noted; a failing store is raised.
    """
    found: list[Act] = []
    unreadable: list[UnreadableAct] = []
    for one in _chosen(list_acts(repository, cluster), what, since):
        if limit is not None and len(found) >= limit:
            break
        try:
            found.append(read_act(repository, one))
        except BlobMissing:
            continue  # expired since it was listed
        except _BAD as error:
            unreadable.append(UnreadableAct(one.name, error))
    return Acts(tuple(found), tuple(unreadable))


def newest_act(
    repository: Repository, cluster: str, what: str, *, done: bool = False
) -> Act | None:
    """Return the newest readable act of a kind, reading no more than that; None: there is none.

    With `done` the newest that succeeded.
    """
    for one in _chosen(list_acts(repository, cluster), what, None):
        try:
            act = read_act(repository, one)
        except (BlobMissing, *_BAD):
            continue
        if act.done or not done:
            return act
    return None


def newest_of_each(repository: Repository, cluster: str = "") -> dict[str, Act]:
    """Return the newest readable act of each kind, with one listing."""
    found: dict[str, Act] = {}
    for one in list_acts(repository, cluster):
        if one.what not in found:
            try:
                found[one.what] = read_act(repository, one)
            except (BlobMissing, *_BAD):
                continue
    return found


def read_act(repository: Repository, named: ActName) -> Act:
    """Read one act. Raise BlobMissing, Damaged, FormatTooNew, ShortRead or WrongKey."""
    return _read(repository, repository.store, named)


def _chosen(listed: list[ActName], what: str, since: datetime | None) -> Iterator[ActName]:
    for one in listed:
        if since is not None and one.at < since:
            return
        if what in ("", one.what):
            yield one


def _encode(repository: Repository, act: Act) -> bytes:
    facts: dict[str, Any] = to_builtins(act)
    facts["at"] = format_moment(act.at)
    return encode_sealed(repository, ACT, facts, {"id": act.id, "cluster": act.cluster})


def _read(repository: Repository, store: Store, named: ActName) -> Act:
    if store.union is not None:
        return store.union.intact(lambda copy: _read(repository, copy, named))
    where = f"{named.name} in {store.url}"
    act = _decode(repository, read_whole(store, named.name, _LIMIT), where)
    if (act.id, act.what, act.cluster) != (named.id, named.what, named.cluster):
        raise Damaged(where, f"it holds act {act.id} ({act.what}) of cluster {act.cluster!r}")
    return act


def _decode(repository: Repository, content: bytes, where: str) -> Act:
    return decode_sealed(repository, ACT, content, where, Act)
