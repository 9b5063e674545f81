"""verify in memory: what each damage means, what is said of it, and what is recorded."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pgkeep.cli.render import verify as render_verify
from pgkeep.cli.text import Look
from pgkeep.model.lsn import Lsn
from pgkeep.repository import names
from pgkeep.repository.census.shelf import listed, write_census
from pgkeep.repository.manifest.codec import Manifest, encode
from pgkeep.repository.manifest.facts import Facts, Tablespace
from pgkeep.repository.proofs import Level, Proof, read_proofs
from pgkeep.repository.store.base import StoreFailed
from pgkeep.verify.inventory import VerifyOptions
from pgkeep.verify.plan import BadSample, Sample, parse_sample
from pgkeep.verify.report import VerifyReport
from pgkeep.verify.verify import run
from support.censuses import census_at, some_census
from support.manifests import KEY, bound_again, with_record
from support.small_repository import SIZE, Small, control, label

FILES = {"base/5/16384": bytes(range(256)) * 96, "base/5/16385": b"two" * 9000}
BYTES = VerifyOptions(Level.BYTES)


@pytest.fixture
def small() -> Small:
    made = Small().begin()
    made.backup(FILES)
    made.backup({**FILES, "base/5/16386": b"three" * 5000})
    made.archive(2)
    return made


def verdicts(report: VerifyReport) -> list[str]:
    return [found.verdict.value for found in report.backups]


def ids(small: Small) -> list[str]:
    return [found.id for found in run(small.folder, VerifyOptions()).backups]


def rewrite(small: Small, backup_id: str, content: bytes) -> None:
    small.store.put(names.manifest("main", backup_id), [content])


def forge(small: Small, backup_id: str, **facts: Any) -> None:
    """Write a manifest anew, with every hash right."""
    old = small.manifest(backup_id)
    changed: Facts = msgspec.structs.replace(old.facts, **facts)
    sealer = small.folder.repository.sealer()
    rewrite(small, backup_id, b"".join(encode(Manifest(changed, old.tables), sealer)))


def test_a_good_repository_is_proven_good(small: Small) -> None:
    before = small.blobs()
    for level in Level:
        done = run(small.folder, VerifyOptions(level))
        assert (verdicts(done), done.problem, done.damaged) == (["good", "good"], None, ())
        assert done.orphans == (0, 0)
        assert [(r.first, r.last) for r in done.proof.wal] == [
            ("000000010000000000000007", "00000001000000000000000A")
        ]
        assert [str(proven.span.end) for proven in done.proven] == ["0/B00000"]
    proofs = read_proofs(small.folder)
    assert [proof.level for proof in proofs.found] == [Level.BYTES]  # it settles all before
    after = {name: blob for name, blob in small.blobs().items() if "/proofs/" not in name}
    assert after == before


def test_an_empty_cluster_is_a_normal_state() -> None:
    done = run(Small().folder, BYTES)
    assert (done.backups, done.problem) == ((), None)
    assert render_verify.report(done, Look()).startswith("cluster main has no backup to verify")


# Scenario 79: the control file.


def test_scenario_79_a_backup_without_a_control_file() -> None:
    small = Small().begin()
    backup_id = small.backup({"global/pg_control": b""})
    done = run(small.folder, VerifyOptions())
    assert verdicts(done) == ["damaged"]
    assert done.backups[0].why == "it holds no global/pg_control"
    assert done.damaged[0].name == names.manifest("main", backup_id)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(control(identifier=99), "is of 18-99 instead of 18-77", id="other cluster"),
        pytest.param(control(redo=0x100), "older than the backup", id="pg_resetwal"),
        pytest.param(b"\0" * 8192, "", id="zeros"),
        pytest.param(control()[:200], "", id="cut"),
        pytest.param(control()[:100] + b"!" + control()[101:], "checksum is wrong", id="torn"),
    ],
)
def test_scenario_79_a_control_file_of_something_else(content: bytes, why: str) -> None:
    small = Small().begin()
    small.backup({"global/pg_control": content})
    assert verdicts(run(small.folder, VerifyOptions())) == ["good"]  # its bytes were not read
    done = run(small.folder, BYTES)
    assert verdicts(done) == ["damaged"]
    assert why in done.backups[0].why


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"backup_label": ""}, "does not begin with the start of WAL"),
        ({"backup_label": label(Lsn(5 * SIZE))}, "and the backup elsewhere"),
        ({"tablespaces": (Tablespace(16400, "/ssd"),)}, "does not name the tablespaces"),
        ({"tablespace_map": "16400 /ssd\n"}, "does not name the tablespaces"),
        ({"tablespace_map": "rubbish"}, "cut off"),
    ],
)
def test_scenario_22_facts_that_no_restore_would_take(
    small: Small, facts: dict[str, Any], why: str
) -> None:
    first = ids(small)[0]
    forge(small, first, **facts)
    done = run(small.folder, VerifyOptions())
    assert verdicts(done) == ["damaged", "good"]
    assert why in done.backups[0].why


# Scenario 76: whatever is wrong with a manifest, its backup is damaged and the others are not.


def at(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:offset] + value + content[offset + len(value) :]


def record(*path: str | int, value: Any) -> Callable[[bytes], bytes]:
    def edit(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return lambda content: with_record(content, edit)


def raw(plain: bytes) -> Callable[[bytes], bytes]:
    return lambda content: with_record(content, lambda _: plain)


FORTY: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    **{f"cut at {length}": (lambda c, n=length: c[:n]) for length in (1, 4, 8, 31, 47, 48, 99)},  # type: ignore[misc]
    **{f"cut by {length}": (lambda c, n=length: c[:-n]) for length in (1, 16, 17, 100, 500)},  # type: ignore[misc]
    "trailing garbage": lambda content: content + b"\n",
    "twice": lambda content: content * 2,
    "another magic": at(0, b"PGKX"),
    "version 0": at(4, b"\0"),
    "a later version": at(4, b"\x09"),
    "facts longer than all": at(8, b"\xff\xff\xff\xff"),
    "no blocks": at(12, b"\0\0\0\0"),
    "huge tables": at(24, b"\xff" * 8),
    "another binding": at(32, bytes(16)),
    "unknown codec": at(48 + 5, b"\x07"),
    "unknown cipher": at(48 + 6, b"\x07"),
    "another kind of block": at(48 + 7, b"\x01"),
    "sealed with a key": at(48 + 8, b"\x01\x02\x03\x04"),
    "declared to inflate to much": at(48 + 12, b"\xff\xff\xff\x00"),
    "another content id": at(48 + 20, bytes(16)),
    "no JSON": raw(b"{"),
    "nothing": raw(b""),
    "no UTF-8": raw(b'{"facts":"\xff"}'),
    "deep nesting": raw(b'{"facts":' * 50_000),
    "NaN": raw(b'{"facts":{"size":NaN}}'),
    "infinity": raw(b'{"facts":{"duration_s":Infinity}}'),
    "a list": raw(b"[]"),
    "a later format": record("facts", "format", value=99),
    "another cluster": record("facts", "cluster", value="other"),
    "another backup": record("facts", "id", value="20261101T000000Z-ffff"),
    "negative size": record("facts", "size", value=-1),
    "huge size": record("facts", "size", value=1 << 70),
    "size as text": record("facts", "size", value="12"),
    "size as truth": record("facts", "size", value=True),
    "timeline 0": record("facts", "timeline", value=0),
    "no LSN": record("facts", "stop_lsn", value="later"),
    "no time": record("facts", "started_at", value="yesterday"),
    "unknown type": record("facts", "type", value="differential"),
    "block size 3": record("facts", "generation", "block_size", value=3),
    "columns of another type": record("columns", 3, "dtype", value="<f4"),
    "columns behind the end": record("columns", 3, "offset", value=1 << 50),
    "columns askew": record("columns", 3, "offset", value=5),
    "as many rows as never fit": record("columns", 3, "count", value=(1 << 63) - 1),
    "facts of nobody": lambda content: bound_again(content, content[48:100]),
}


@pytest.mark.parametrize("damage", FORTY.values(), ids=FORTY.keys())
def test_scenario_76_forty_ways_to_damage_a_manifest(
    small: Small, damage: Callable[[bytes], bytes]
) -> None:
    first, second = ids(small)
    name = names.manifest("main", first)
    content = small.store.get(name)
    try:
        rewrite(small, first, damage(content))
    except Exception:  # a damage that cannot be made is a mistake of the test
        pytest.fail("this damage cannot be made")
    done = run(small.folder, VerifyOptions())
    assert [(b.id, b.verdict.value) for b in done.backups] == [(first, "damaged"), (second, "good")]
    assert [(d.name, d.backups, d.files) for d in done.damaged] == [(name, (first,), True)]
    rewrite(small, first, content)
    assert run(small.folder, VerifyOptions()).problem is None


def test_scenario_76_there_are_forty() -> None:
    assert len(FORTY) >= 40


# What is recorded.


class Failing:
    """A store whose packs cannot be read: it fails, it does not say that they are gone."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        if "/packs/" in name:
            raise StoreFailed(self._inner.url, f"read {name}", "the disk answers with an error")
        content: bytes = self._inner.get(name, start, length)
        return content


def test_a_failing_store_is_no_damage_and_leaves_no_proof(small: Small) -> None:
    before = small.blobs()
    failing = replace(small, store=Failing(small.store))
    with pytest.raises(StoreFailed):
        run(failing.folder, BYTES)
    assert small.blobs() == before


class ReadOnly(Failing):
    """A store that nothing can be written to."""

    def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        content: bytes = self._inner.get(name, start, length)
        return content

    def create(self, name: str, parts: Any) -> None:
        raise StoreFailed(self._inner.url, f"write {name}", "read-only file system")


def test_a_read_only_repository_is_verified_without_a_record(small: Small) -> None:
    before = small.blobs()
    done = run(replace(small, store=ReadOnly(small.store)).folder, BYTES)
    assert verdicts(done) == ["good", "good"]
    assert not done.recorded
    assert done.to_dict()["id"] is None
    assert "so the result is not recorded" in done.notes[0]
    assert small.blobs() == before


def test_a_chosen_backup_settles_only_its_own_damage(small: Small) -> None:
    first, second = ids(small)
    packs = {small.manifest(i).tables.pack.name(0) for i in (first, second)}
    names_of = [names.pack("main", pack_id) for pack_id in packs]
    kept = {name: small.store.get(name) for name in names_of}
    for name in names_of:
        small.store.delete(name)
    assert verdicts(run(small.folder, VerifyOptions())) == ["damaged", "damaged"]
    assert read_proofs(small.folder).damaged_packs("main") == packs
    for name, content in kept.items():
        small.store.put(name, [content])
    assert run(small.folder, VerifyOptions(wanted=(second,))).problem is None
    standing = read_proofs(small.folder)
    assert list(standing.damaged_backups()) == [first]
    assert standing.damaged_packs("main") == {small.manifest(first).tables.pack.name(0)}
    assert run(small.folder, VerifyOptions()).problem is None
    assert read_proofs(small.folder).damaged_backups() == {}


def test_two_at_once_do_not_settle_what_neither_knew(small: Small) -> None:
    """A look at objects that began before a damage was recorded did not read it again."""
    run(small.folder, VerifyOptions())
    (proof,) = read_proofs(small.folder).found
    hit = timed(proof, 5)
    blind = timed(proof, 6, began=4)
    knowing = timed(proof, 7, began=6)
    assert not blind.looked_again(hit)
    assert knowing.looked_again(hit)
    assert timed(proof, 8, began=4, level=Level.BYTES).looked_again(hit)


def timed(proof: Proof, minutes: int, began: int = 0, **more: Any) -> Proof:
    zero = datetime(2026, 11, 24, tzinfo=UTC)
    return msgspec.structs.replace(
        proof,
        started_at=zero + timedelta(minutes=began),
        finished_at=zero + timedelta(minutes=minutes),
        **more,
    )


# Samples.


@pytest.mark.parametrize("text", ["", "x", "0%", "-1%", "101%", "5%%", "nan%"])
def test_samples_that_are_none(text: str) -> None:
    with pytest.raises(BadSample):
        parse_sample(text, "seed")


def test_samples() -> None:
    assert parse_sample("5%", "s") == Sample(5, "s")
    assert str(parse_sample("0.5", "s")) == "0.5%"
    assert parse_sample("100%", "s") is None


def test_an_encrypted_repository(small: Small) -> None:
    sealed = Small(key=KEY).begin()
    sealed.backup(FILES)
    assert verdicts(run(sealed.folder, BYTES)) == ["good"]
    # An intact pack of another repository, in the place of our own, does not pass.
    (ours,) = (name for name in sealed.blobs() if "/packs/" in name)
    theirs = next(name for name in small.blobs() if "/packs/" in name)
    sealed.store.put(ours, [small.store.get(theirs)])
    done = run(sealed.folder, BYTES)
    assert verdicts(done) == ["damaged"]
    assert done.backups[0].files.count == 4


def test_censuses_are_looked_at_and_belong_to_no_backup(small: Small) -> None:
    write_census(small.folder, some_census())
    write_census(small.folder, census_at(1))
    first, second = (one.name for one in listed(small.folder))
    content = bytearray(small.store.get(first))
    content[-3] ^= 1
    small.store.put(first, [bytes(content)])
    small.store.put(second, [small.store.get(second)[:-1]])
    objects = run(small.folder, VerifyOptions())
    assert [(damaged.name, damaged.backups) for damaged in objects.damaged] == [(second, ())]
    assert objects.unexplained_count == 0
    everything = run(small.folder, BYTES)
    assert [damaged.name for damaged in everything.damaged] == [first, second]
    assert set(verdicts(everything)) == {"good"}
    # What stands as damaged is read again whatever the level.
    again = run(small.folder, VerifyOptions())
    assert [damaged.name for damaged in again.damaged] == [first, second]
    assert again.damaged[0].why.startswith("zstd cannot read it")
