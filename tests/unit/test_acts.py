"""Acts: written once, newest first, found by kind, in every repository that takes them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.places import Place, record_everywhere
from pgkeep.repository import names
from pgkeep.repository.acts.act import ALERT_TEST, KEY_TEST, RUNBOOK, Act, Outcome
from pgkeep.repository.acts.storing import act_id, acts, newest_act, record_act
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.access import RepositoryConfig
from pgkeep.repository.store.base import BlobExists, StoreFailed
from pgkeep.repository.store.copies import Copies
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.store.open import make_store
from support.acts import an_act

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def repository_of(*sketch: Act) -> Repository:
    repository = Repository.create(MemoryStore(), "none", None)
    for act in sketch:
        record_act(repository, act)
    return repository


def test_acts_are_told_newest_first_as_far_back_as_asked() -> None:
    sketch = [an_act(NOW - timedelta(days=days)) for days in (3, 1, 2)]
    repository = repository_of(*sketch)
    newest_first = (sketch[1], sketch[2], sketch[0])
    assert acts(repository, "main").found == newest_first
    assert acts(repository, "main", limit=1).found == newest_first[:1]
    since = NOW - timedelta(days=2)
    assert acts(repository, "main", since=since).found == newest_first[:2]
    assert acts(repository).found == acts(repository, "other").found == ()


def test_the_newest_of_a_kind_is_found_whatever_else_is_newer() -> None:
    old, failed = an_act(NOW, KEY_TEST), an_act(NOW, KEY_TEST, Outcome.FAILED, chance=2)
    repository = repository_of(old, failed, an_act(NOW + timedelta(1), ALERT_TEST))
    assert newest_act(repository, "main", KEY_TEST) == failed
    assert newest_act(repository, "main", KEY_TEST, done=True) == old
    assert newest_act(repository, "main", RUNBOOK) is None
    assert acts(repository, "main", what=KEY_TEST).found == (failed, old)


def test_an_act_is_never_written_over() -> None:
    act = an_act(NOW)
    repository = repository_of(act)
    with pytest.raises(BlobExists):
        record_act(repository, act)


def test_what_could_not_be_read_back_is_not_stored() -> None:
    repository = repository_of()
    with pytest.raises(Damaged, match="a fact is missing or wrong"):
        record_act(repository, an_act(NOW, "Key Test"))
    assert list(repository.store.list(names.CLUSTERS)) == []


def test_one_that_is_torn_is_noted_and_hides_no_other() -> None:
    act = an_act(NOW)
    repository = repository_of(act)
    torn = names.act("main", act_id(NOW), KEY_TEST)
    repository.store.put(torn, [b"{}"])
    repository.store.put(f"{names.acts_prefix('main')}notes.txt", [b"not ours"])
    found = acts(repository, "main")
    assert found.found == (act,)
    assert [bad.name for bad in found.unreadable] == [torn]
    assert newest_act(repository, "main", act.what) == act


def test_of_two_copies_the_one_that_is_whole_is_read() -> None:
    act, stores = an_act(NOW), (MemoryStore(), MemoryStore())
    first = Repository.create(stores[0], "none", None)
    for store in stores:
        record_act(Repository(store, first.id, None), act)
    stores[0].put(names.act("main", act.id, act.what), [b"{}"])
    union = Repository(Copies(stores, []), first.id, None)
    assert acts(union, "main").found == (act,)


def test_an_act_goes_to_every_repository_that_takes_it(tmp_path: Path) -> None:
    here, there, away = (str(tmp_path / name) for name in ("here", "there", "away"))
    made = [Repository.create(make_store(place), "none", None) for place in (here, there)]
    act = an_act(NOW)
    (failed,) = record_everywhere([place_at(place) for place in (away, here, there)], act)
    assert failed.place.address == away
    assert isinstance(failed.error, StoreFailed)
    for repository in made:
        assert acts(repository, "main").found == (act,)
    assert record_everywhere([place_at(here)], act) == ()  # it is there
    with pytest.raises(StoreFailed):
        record_everywhere([place_at(away)], act)


def place_at(address: str) -> Place:
    section = RepositoryConfig(url=address, encryption="none")
    return Place("", address, section, lambda: None)
