"""Copies to and from a bucket, through a network that loses, cuts and forges."""

import contextlib
from collections.abc import Callable

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.replicate.copy import CopyOptions, run
from pgkeep.repository import catalog, names
from pgkeep.repository.store.base import Store, StoreFailed
from pgkeep.repository.store.memory import MemoryStore
from pgkeep.repository.store.open import open_store
from pgkeep.verify.heal import heal
from pgkeep.verify.inventory import VerifyOptions
from support.copies import KEY, Pair, common, demand_clean, full_source
from support.dying_store import forget_locks
from support.fault_proxy import FaultProxy, cut, flip, flip_sent, lose_answer, refuse, slow_down
from support.object_servers import ObjectServer


@pytest.fixture
def bucket(
    bucket_address: Callable[[str], str], s3_server: ObjectServer, s3_proxy: FaultProxy
) -> Store:
    """A new bucket, seen through the proxy."""
    address = bucket_address("s3")
    return open_store(address.replace(s3_server.endpoint, s3_proxy.endpoint))


@pytest.fixture
def pair(bucket: Store) -> Pair:
    """A repository in memory, and a bucket for its copy."""
    made = Pair(full_source(), bucket)
    _ = made.repository
    return made


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_bucket_gets_everything_byte_for_byte(bucket: Store, jobs: int) -> None:
    pair = Pair(full_source(key=KEY), bucket)
    done = pair.copy(jobs=jobs, verify=True)
    assert done.problem is None
    assert common(bucket) == common(pair.source.store)
    assert pair.copy().plan.batches == ()
    demand_clean(pair.verify())


def test_what_the_network_loses_is_sent_again(pair: Pair, s3_proxy: FaultProxy) -> None:
    s3_proxy.when(slow_down(), method="PUT", path="*/packs/*", times=1)
    s3_proxy.when(lose_answer(), method="PUT", path="*/packs/*", after=1, times=1)
    s3_proxy.when(lose_answer(), method="PUT", path="*/wal/*", times=1)
    s3_proxy.when(refuse(503, "ServiceUnavailable"), method="HEAD", path="*/manifest", times=1)
    s3_proxy.when(lose_answer(), method="PUT", path="*/manifest", times=1)
    assert pair.copy().problem is None
    s3_proxy.heal()
    assert common(pair.store) == common(pair.source.store)
    demand_clean(pair.verify())


def test_a_bucket_that_dies_in_mid_copy_ends_it_and_the_next_copy_goes_on(
    pair: Pair, s3_proxy: FaultProxy
) -> None:
    s3_proxy.when(refuse(503, "ServiceUnavailable"), method="PUT", path="*/packs/*", after=1)
    with pytest.raises(StoreFailed):
        pair.copy()
    s3_proxy.heal()
    forget_locks(pair.store)
    report = pair.verify()
    demand_clean(report)
    assert len(report.found) == 1, "the newest backup, which needs one pack; not the dump"
    arrived = s3_proxy.count("PUT", "*/packs/*")
    assert pair.copy().problem is None
    assert s3_proxy.count("PUT", "*/packs/*") < arrived + 4, "what had arrived is not sent again"
    assert common(pair.store) == common(pair.source.store)


def test_bytes_that_are_forged_on_the_way_there_never_become_part_of_the_copy(
    pair: Pair, s3_proxy: FaultProxy
) -> None:
    s3_proxy.when(flip_sent(100), method="PUT", path="*/packs/*", times=1)
    with contextlib.suppress(PgkeepError):  # told, or mended by sending again: both will do
        pair.copy(verify=True)
    s3_proxy.heal()
    forget_locks(pair.store)
    demand_clean(pair.verify())
    assert pair.copy(verify=True).problem is None
    assert common(pair.store) == common(pair.source.store)


@pytest.mark.parametrize("fault", [cut(50), cut(50, lying=True), flip(300)])
def test_a_source_whose_answers_are_cut_or_forged_is_asked_again_or_told(
    pair: Pair, s3_proxy: FaultProxy, fault: object
) -> None:
    """From the bucket back: what arrives damaged is not sent on."""
    pair.copy()
    s3_proxy.when(fault, method="GET", path="*/packs/*", times=1)  # type: ignore[arg-type]
    back = Pair(full_source(), MemoryStore("back"))
    done = run(pair.target, back.target, CopyOptions())
    s3_proxy.heal()
    demand_clean(back.verify())
    if done.problem is not None:
        assert run(pair.target, back.target, CopyOptions()).problem is None
    assert common(back.store) == common(pair.store)


def test_a_repository_is_healed_from_a_bucket(pair: Pair, s3_proxy: FaultProxy) -> None:
    pair.copy()
    whole = common(pair.source.store)
    first = str(catalog.backups(pair.source.folder).backups[0].id)
    pack = names.pack("main", pair.source.manifest(first).tables.pack.name(0))
    pair.source.store.delete(pack)
    s3_proxy.when(flip(200), method="GET", path=f"*/{pack}")
    report = heal(pair.source.folder, VerifyOptions(), [pair.repository])
    assert [left.name for left in report.unhealed] == [pack], "a forged one does not heal"
    s3_proxy.heal()
    report = heal(pair.source.folder, VerifyOptions(), [pair.repository])
    assert [one.name for one in report.healed] == [pack]
    assert common(pair.source.store) == whole
