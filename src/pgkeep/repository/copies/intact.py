"""Whether an object is what was written, by itself: read to its last byte, and unsealed.

What it is compared with is in it: the ids of its blocks, keyed where the repository is encrypted.
So whoever checks needs the master key. Nothing of what is unsealed is kept or sent.
"""

from typing import Final

from pgkeep.repository import catalog, dumps
from pgkeep.repository.acts.storing import parse_act_name, read_act
from pgkeep.repository.census.shelf import read_census
from pgkeep.repository.copies.held import Held
from pgkeep.repository.copies.object_names import ObjectKind, ObjectName
from pgkeep.repository.drills.storing import read_report
from pgkeep.repository.manifest.checks import UnsafePath
from pgkeep.repository.manifest.shelf import BAD_MANIFEST
from pgkeep.repository.marker import read_document
from pgkeep.repository.pack import read_contents
from pgkeep.repository.repository import ClusterFolder, Repository
from pgkeep.repository.seal import CHUNK, ID_SIZE, Damaged, id_of

# What an object can be found to be. All else that a store raises says nothing of the object.
NOT_INTACT: Final = (*BAD_MANIFEST, UnsafePath)


def check(held: Held, repository: Repository, wanted: ObjectName) -> None:
    """Read a held object of a repository in full. Raise one of NOT_INTACT, saying what is wrong."""
    view = Repository(held, repository.id, repository.key)
    if wanted.kind is ObjectKind.ACT:
        _check_act(view, wanted)
        return
    cluster = view.cluster(wanted.cluster)
    match wanted.kind:
        case ObjectKind.PACK:
            _check_pack(cluster, wanted)
        case ObjectKind.WAL | ObjectKind.HISTORY:
            for _ in cluster.wal(wanted.of).fetch(wanted.file):
                pass
        case ObjectKind.MANIFEST:
            if dumps.is_dump_id(wanted.of):
                dumps.read_manifest(cluster, wanted.of)
            else:
                catalog.read_manifest(cluster, wanted.of)
        case ObjectKind.GENERATION:
            cluster.generation(wanted.of)
        case ObjectKind.CENSUS:
            read_census(cluster, wanted.of)
        case ObjectKind.PIN | ObjectKind.WRITER | ObjectKind.LOST:
            read_document(held, wanted.name)
        case ObjectKind.DRILL:
            read_report(cluster, wanted.of)


def _check_act(view: Repository, wanted: ObjectName) -> None:
    named = parse_act_name(wanted.name)
    if named is None:
        raise Damaged(f"{wanted.name} in {view.store.url}", "it is not named like an act")
    read_act(view, named)


def _check_pack(cluster: ClusterFolder, wanted: ObjectName) -> None:
    """Unseal every chunk of a pack; demand those that its table of contents names."""
    sealer, where = cluster.repository.sealer(), f"{wanted.name} in {cluster.store.url}"
    listed = read_contents(cluster, sealer, bytes.fromhex(wanted.of))
    ids = listed["id"].tobytes()
    places = zip(listed["offset"].tolist(), listed["length"].tolist(), strict=True)
    for row, (offset, length) in enumerate(places):
        sealed = cluster.store.get(wanted.name, offset, length)
        here = f"{where} at byte {offset}"
        sealer.unseal(CHUNK, sealed, here)
        if id_of(sealed) != ids[ID_SIZE * row : ID_SIZE * (row + 1)]:
            raise Damaged(here, "it is another chunk than its table of contents names")
