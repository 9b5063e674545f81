"""What there is of a cluster: health, coverage, backups, dumps, drills, events."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from pgkeep.api.routes import facts
from pgkeep.api.routes.asked import Cluster, Id, Shared, needs
from pgkeep.checklist.rows import checklist as look_at_checklist
from pgkeep.costs.survey import Priced, look_at_costs
from pgkeep.coverage.listing import list_cluster
from pgkeep.repository.drills.storing import read_reports
from pgkeep.repository.dumps import dumps as read_dumps
from pgkeep.retention.delete import preview_delete
from pgkeep.retention.pins import holding, read_pins
from pgkeep.undo.finding.remembered import Remembered

router = APIRouter(prefix="/api/clusters", tags=["clusters"])


@router.get("", **needs("look"))
def clusters(shared: Shared) -> list[dict[str, Any]]:
    """Return all clusters of the config, each with its state as last seen."""
    found = []
    for name in shared.board.clusters():
        health = shared.board.health(name)
        brief = {
            "state": health.state if health else None,
            "looked_at": health.looked_at if health else None,
            "protected_to": health.protected_to if health else None,
            "conditions": len(health.conditions) if health else 0,
        }
        found.append({"name": name, **brief})
    return found


@router.get("/{cluster}/health", **needs("look"))
def health(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Return a cluster's health as last seen; `health` is null before the first look."""
    found = shared.board.health(cluster)
    return {"cluster": cluster, "health": found.to_dict() if found else None}


@router.post("/{cluster}/look", status_code=202, **needs("look-again"))
def look_again(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Have a cluster looked at soon, instead of at the next round."""
    shared.board.look_again(cluster)
    return {"cluster": cluster}


@router.get("/{cluster}/timeline", **needs("look", reads=True))
def timeline(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Return which moments can be restored, the holes between them, backups and drills."""
    folder = shared.board.app(cluster).cluster_to_read
    drills = [facts.drill_facts(report) for report in read_reports(folder).found]
    return {**facts.timeline_facts(list_cluster(folder)), "drills": drills}


@router.get("/{cluster}/backups", **needs("look", reads=True))
def backups(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Return all backups, with what verify and coverage say of each."""
    folder = shared.board.app(cluster).cluster_to_read
    pinned = holding(read_pins(folder), datetime.now(UTC))
    return facts.backups_facts(list_cluster(folder), pinned)


@router.get("/{cluster}/backups/{id}/deletion", tags=["jobs"], **needs("preview", reads=True))
def deletion(
    cluster: Cluster,
    id: Id,
    shared: Shared,
    last: Annotated[bool, Query(description="Even the last good dump of its series.")] = False,
) -> dict[str, Any]:
    """Return what deleting a backup or dump would lose, and what would be left."""
    folder = shared.board.app(cluster).cluster
    return facts.deletion_facts(preview_delete(folder, id, last_too=last))


@router.get("/{cluster}/dumps", **needs("look", reads=True))
def dumps(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Return all dumps."""
    folder = shared.board.app(cluster).cluster_to_read
    found = read_dumps(folder)
    pinned = holding(read_pins(folder), datetime.now(UTC))
    return {
        "cluster": cluster,
        "dumps": [{**d.to_dict(), "pinned": pinned.get(d.id)} for d in found.dumps],
        "unreadable": [
            {"id": bad.id, "code": bad.error.code, "message": bad.why} for bad in found.unreadable
        ],
    }


@router.get("/{cluster}/drills", **needs("look", reads=True))
def drills(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Return all restore tests on record, the newest first."""
    found = read_reports(shared.board.app(cluster).cluster_to_read)
    return {"cluster": cluster, "drills": [facts.drill_facts(one) for one in found.found]}


@router.get("/{cluster}/events", **needs("look", reads=True))
def events(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Return what the service's last `undo find` found, by the numbers that `event` takes."""
    folder = shared.board.app(cluster).cluster_to_read
    found = Remembered.of(folder).events()
    return {"cluster": cluster, "events": [event.to_dict() for event in found]}


@router.get("/{cluster}/checklist", **needs("look", reads=True))
def checklist(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Return the production checklist: what is done, due and broken, each with its proof."""
    return look_at_checklist(shared.board.app(cluster)).to_dict()


@router.get("/{cluster}/storage", **needs("look", reads=True))
def storage(cluster: Cluster, shared: Shared) -> dict[str, Any]:
    """Return how full the repositories are by the last look, and what they cost a month."""
    health = shared.board.health(cluster)
    places = shared.board.app(cluster).places
    priced = [Priced(place.open(), place.tariff) for place in places]
    costs = look_at_costs(priced, datetime.now(UTC))
    room = health.to_dict()["repositories"] if health else []
    return {"cluster": cluster, "room": room, "costs": [one.to_dict() for one in costs]}
