"""The document of docs/formats/proofs.md is read, and written again byte for byte."""

from datetime import UTC, datetime

from pgkeep.repository import names
from pgkeep.repository.proofs import (
    BackupProof,
    DamagedObject,
    Level,
    Proof,
    Proofs,
    Verdict,
    WalRange,
    read_proofs,
    write_proof,
)
from support.manifests import BACKUP, cluster_folder
from support.pages import json_example

PACK = "clusters/main/packs/9c/9c5b21f0aa7de3440d5c8812ab90ee17"
PROOF = Proof(
    id="20261124T020512.000000Z-5d0c91aa",
    cluster="main",
    level=Level.BYTES,
    sample="5%",
    seed="7f3a9c0122e4d6b8",
    since=None,
    everything=True,
    pgkeep_version="0.1.0",
    started_at=datetime(2026, 11, 24, 2, 4, 55, 250000, tzinfo=UTC),
    finished_at=datetime(2026, 11, 24, 2, 5, 12, tzinfo=UTC),
    backups=(
        BackupProof(BACKUP, Verdict.DAMAGED, "2 files have lost something"),
        BackupProof("20261124T010000Z-90b1", Verdict.GOOD),
    ),
    damaged=(DamagedObject(PACK, "the chunk at byte 52313 is damaged", (BACKUP,), True),),
    wal=(
        WalRange("18-7710983248089545577", "00000001000000000000004A", "000000010000000000000051"),
    ),
    wal_files=9,
    packs=41,
    read=66_305_024,
)
NAME = names.proof("main", PROOF.id)


def test_the_worked_example_is_read() -> None:
    cluster = cluster_folder()
    cluster.store.put(NAME, [json_example("proofs.md", "Worked example")])
    assert read_proofs(cluster) == Proofs((PROOF,))


def test_the_worked_example_is_what_is_written() -> None:
    cluster = cluster_folder()
    write_proof(cluster, PROOF)
    assert cluster.store.get(NAME) == json_example("proofs.md", "Worked example")
