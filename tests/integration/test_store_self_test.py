"""The self-test of a store: good ones pass, what a clone lacks is named, nothing is left behind.

Scenario group L: stores that lie, that lack something, and credentials that may not do everything.
"""

import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pgkeep.progress import Silent
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.bucket.errors import StoreUnreachable
from pgkeep.repository.store.open import open_store
from pgkeep.setup.store_test import store_test
from pgkeep.setup.verdicts import State, Verdict
from support.command import PGKEEP
from support.fault_proxy import Fault, FaultProxy, flip, flip_sent, refuse, stale, unconditional
from support.lacking import clock_off, paged
from support.sshd import Sshd
from support.wait import wait_for

Place = Callable[..., str]
Lacking = tuple[Store, FaultProxy]

LISTINGS = "*list-type=2*"  # in the query
PAGE = 40  # moto takes a second for seventy objects


def tried(store: Store, *, full: bool, page: int | None = None) -> dict[str, Verdict]:
    found = store_test(store, "root", Silent(), full=full, page=page)
    return {verdict.name: verdict for verdict in found}


def bad(found: dict[str, Verdict]) -> dict[str, Verdict]:
    return {name: verdict for name, verdict in found.items() if verdict.state is not State.OK}


def left(store: Store) -> list[str]:
    return [blob.name for blob in store.list("probes/")]


@pytest.fixture
def behind(bucket_address: Place, s3_proxy: FaultProxy) -> Store:
    """A store behind the proxy."""
    return open_store(bucket_address("s3", endpoint=s3_proxy.endpoint, part_size="5MiB"))


@pytest.fixture
def lacking(behind: Store, s3_proxy: FaultProxy) -> Lacking:
    return behind, s3_proxy


ALL = [
    *("writable", "conditional put", "reads", "listing", "store clock"),
    *("racing puts", "overwriting", "large objects", "long listing"),
]


def test_a_good_directory_passes_all_of_it(tmp_path: Path) -> None:
    found = tried(open_store(str(tmp_path)), full=True)
    assert bad(found) == {}
    assert list(found) == ALL
    assert found["long listing"].says == (
        "1,010 objects are listed, and none after they were deleted"
    )
    assert list(tmp_path.glob("probes/*")) == []


def test_a_good_bucket_passes_all_of_it(behind: Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.when(paged(PAGE), method="GET", query=LISTINGS)
    found = tried(behind, full=True, page=PAGE)
    assert bad(found) == {}
    assert list(found) == ALL
    assert s3_proxy.count("GET", query="*continuation-token=*") == 1
    assert left(behind) == []


def test_good_storage_by_ssh_passes_all_of_it(sshd: Sshd) -> None:
    store = open_store(sshd.address(sshd.folder()))
    found = tried(store, full=True, page=PAGE)
    assert bad(found) == {}
    assert left(store) == []


@pytest.mark.parametrize("kind", ["gs", "az"])
def test_what_every_check_asks_is_one_line(kind: str, bucket_address: Place) -> None:
    store = open_store(bucket_address(kind))
    found = tried(store, full=False)
    assert bad(found) == {}
    assert list(found) == ["writable", "store", "store clock"]
    assert left(store) == []


@pytest.mark.parametrize(
    ("fault", "requests", "name", "says"),
    [
        pytest.param(
            unconditional(),
            ("PUT|POST", "*/probes/*"),
            "conditional put",
            "two pgkeep at once could overwrite each other's WAL and backups: a second create of "
            "one name replaced what the first had stored",
            id="no conditional put",
        ),
        pytest.param(
            stale(),
            ("GET", LISTINGS),
            "listing",
            "WAL and backups that are there would be called missing, or the reverse: right after "
            "a put, a listing lacks 1 of 1 objects",
            id="stale listing",
        ),
        pytest.param(
            flip(500),
            ("GET", "*-bytes"),
            "reads",
            "restores from here could get other bytes than backups stored: an object came back as "
            "65,536 other bytes than were stored",
            id="bytes change on their way back",
        ),
        pytest.param(
            clock_off(timedelta(hours=2, seconds=20)),
            ("HEAD", "*/probes/*"),
            "store clock",
            "pgkeep cannot tell what is old in this store, and expire refuses to work: the "
            "store's clock is 2 h ahead of this host's",
            id="clock ahead",
        ),
        pytest.param(
            clock_off(-timedelta(hours=2, seconds=20)),
            ("HEAD", "*/probes/*"),
            "store clock",
            "pgkeep cannot tell what is old in this store, and expire refuses to work: the "
            "store's clock is 2 h behind this host's",
            id="clock behind",
        ),
    ],
)
def test_what_a_clone_lacks_is_named_with_what_it_means(
    lacking: Lacking, fault: Fault, requests: tuple[str, str], name: str, says: str
) -> None:
    behind, s3_proxy = lacking
    method, what = requests
    listings = what == LISTINGS
    path, query = ("", what) if listings else (what, "")
    s3_proxy.when(fault, method=method, path=path, query=query)
    found = bad(tried(behind, full=False))
    assert list(found) == [name]
    assert (found[name].state, found[name].says) == (State.FAILED, says)
    assert found[name].fix
    s3_proxy.heal()
    assert left(behind) == []


def test_a_body_that_arrives_changed_is_never_taken_for_stored(
    behind: Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.when(flip_sent(), method="PUT", path="*-bytes")
    found = bad(tried(behind, full=False))
    assert list(found) == ["reads"]
    assert found["reads"].says.startswith(
        "restores from here could get other bytes than backups stored: cannot create probes/"
    )
    assert left(behind) == []


def test_a_listing_that_ends_after_a_page(behind: Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.when(paged(PAGE, only_one=True), method="GET", query=LISTINGS)
    found = bad(tried(behind, full=True, page=PAGE))
    assert list(found) == ["long listing"]
    assert found["long listing"].says == (
        "WAL and backups that are there would be called missing: of 50 objects stored, a "
        "listing ends after 40 of 50 objects"
    )
    assert "loses the mark by which a listing goes on" in found["long listing"].fix
    s3_proxy.heal()
    assert left(behind) == []


@pytest.mark.parametrize(
    ("requests", "state", "says"),
    [
        pytest.param(
            ("PUT", ""),
            State.FAILED,
            "nothing can be backed up or archived (write no, read yes, list yes, delete yes): "
            "cannot create probes/",
            id="write",
        ),
        pytest.param(
            ("GET", ""),
            State.FAILED,
            "what is stored can be neither verified nor restored with these credentials "
            "(write yes, read no, list yes, delete yes): cannot read probes/",
            id="read",
        ),
        pytest.param(
            ("GET", "*list-type=2*"),
            State.FAILED,
            "nobody can see what could be restored, and missing looks like forbidden "
            "(write yes, read yes, list no, delete yes): cannot list probes/",
            id="list",
        ),
        pytest.param(
            ("DELETE", ""),
            State.NOTE,
            "backups are safe from whoever has these credentials, and cannot be expired with them "
            "(write yes, read yes, list yes, delete no): cannot delete probes/",
            id="delete",
        ),
    ],
)
def test_credentials_that_may_not_do_everything(
    lacking: Lacking, requests: tuple[str, str], state: State, says: str
) -> None:
    behind, s3_proxy = lacking
    method, query = requests
    path = "" if query else "*/probes/*"
    s3_proxy.when(refuse(403, "AccessDenied"), method=method, path=path, query=query)
    verdict = tried(behind, full=False)["writable"]
    assert verdict.state is state
    assert verdict.says.startswith(says)
    assert verdict.fix


def test_a_store_that_is_away_says_nothing_of_rights(behind: Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.die()
    with pytest.raises(StoreUnreachable):
        tried(behind, full=False)


def test_what_was_written_goes_when_the_test_fails_half_way(
    behind: Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.when(refuse(403, "AccessDenied"), method="PUT", path="*-many-00020")
    found = bad(tried(behind, full=True, page=PAGE))
    assert list(found) == ["long listing"]
    assert "cannot write probes/" in found["long listing"].says
    assert s3_proxy.count("PUT", path="*-many-*") >= 20
    assert left(behind) == []


def test_what_was_written_goes_after_ctrl_c(tmp_path: Path) -> None:
    repository, config = tmp_path / "repository", tmp_path / "pgkeep.toml"
    repository.mkdir()
    config.write_text(f'[repository]\nurl = "{repository}"\n')
    command = [str(PGKEEP), "--config", str(config), "check", "--store"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: any(repository.glob("probes/*-many-*")))
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert list(repository.glob("probes/*")) == []
