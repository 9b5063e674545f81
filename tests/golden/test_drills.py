"""The document of docs/formats/drills.md is read, and written again byte for byte."""

import json
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from pgkeep.repository import names
from pgkeep.repository.drills.report import Check, CheckKind, Measures, Report, Status
from pgkeep.repository.drills.storing import Drills, read_report, read_reports, write_report
from pgkeep.repository.marker import encode_document
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.memory import MemoryStore
from support.manifests import BACKUP, cluster_folder
from support.pages import json_example

REPORT = Report(
    id="20261128T005242.230407Z-953a65ff",
    cluster="main",
    status=Status.FAILED,
    of=BACKUP,
    asked="random",
    target="lsn:0/5001710",
    seed="7f3a9c01",
    timeline=1,
    reached='promoted, on timeline 2: recovery stopped before WAL location (LSN) "0/5001710"',
    checks=(
        Check(
            kind=CheckKind.RESTORE,
            status=Status.PASSED,
            words="1,274 files, 44.8 MiB restored",
            seconds=4.101,
        ),
        Check(
            kind=CheckKind.AMCHECK,
            status=Status.NOT_TESTED,
            words="the contrib module amcheck is not installed beside 18.6 in /opt/pgsql/bin",
        ),
        Check(
            kind=CheckKind.QUERY,
            status=Status.FAILED,
            words="orders are missing: it returned 0, expected > 1000",
            name="SELECT count(*) FROM orders",
            evidence=("a line",),
            more=3,
            seconds=0.02,
        ),
    ),
    measures=Measures(
        restored_bytes=46_976_204,
        restore_s=4.101,
        wal_bytes=172_032,
        recovery_s=1.602,
        ready_s=6.31,
        newest_commit=datetime(2026, 11, 28, 0, 52, 28, 248366, tzinfo=UTC),
    ),
    server="18.6",
    host="backup1",
    pgkeep_version="0.1.0",
    started_at=datetime(2026, 11, 28, 0, 52, 32, 125000, tzinfo=UTC),
    finished_at=datetime(2026, 11, 28, 0, 52, 42, 230407, tzinfo=UTC),
    notes=("drawn by lot: just before the commit of transaction 755",),
)
NAME = names.drill("main", REPORT.id)


def test_the_worked_example_is_read() -> None:
    cluster = cluster_folder()
    cluster.store.put(NAME, [json_example("drills.md", "Worked example")])
    assert read_reports(cluster) == Drills((REPORT,))


def test_the_worked_example_is_what_is_written() -> None:
    cluster = cluster_folder()
    write_report(cluster, REPORT)
    assert cluster.store.get(NAME) == json_example("drills.md", "Worked example")


def test_in_an_encrypted_repository_it_tells_nothing_and_must_be_sealed() -> None:
    repository = Repository.create(MemoryStore(), "passphrase", "a secret that is long")
    cluster = repository.cluster("main")
    write_report(cluster, REPORT)
    document = json.loads(cluster.store.get(NAME))
    assert set(document) == {"format", "id", "cluster", "sealed", "check"}
    assert read_report(cluster, REPORT.id) == REPORT
    plain = json_example("drills.md", "Worked example")
    other = replace(REPORT, id="20261128T005242.230407Z-00000000")
    cluster.store.put(names.drill("main", other.id), [plain])
    with pytest.raises(Damaged, match="not encrypted, but this repository is"):
        read_report(cluster, other.id)
    torn = {key: document[key] for key in ("id", "cluster")}
    torn["sealed"] = document["sealed"][:-8] + "AAAAAAA="
    cluster.store.put(NAME, [encode_document(torn)])
    with pytest.raises(Damaged, match="its encryption tag does not fit"):
        read_report(cluster, REPORT.id)
