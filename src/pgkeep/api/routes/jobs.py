"""Jobs: what runs, what is over, what comes next; and everything that starts one."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from pgkeep.api.routes.asked import Asked, Cluster, Confirm, Id, JobId, Shared, Who, needs
from pgkeep.service.jobs.job import Job
from pgkeep.service.jobs.running import typed

router = APIRouter(prefix="/api", tags=["jobs"])


class Words(Asked):
    """A command as one would type it behind `pgkeep --cluster NAME`."""

    words: Annotated[
        list[Annotated[str, Field(max_length=4096)]],
        Field(min_length=1, max_length=200, examples=[["backup", "--type", "full"]]),
    ]
    confirm: Annotated[str, Field(max_length=63, description="The cluster's name, typed.")] = ""


class Pin(Asked):
    """Why a backup or dump has to stay, and how long."""

    reason: Annotated[str, Field(max_length=1000)] = ""
    until: Annotated[str, Field(max_length=40, examples=["90d", "2027-01-31"])] = ""


class Deletion(Asked):
    """What it takes to delete a backup or dump."""

    confirm: Annotated[str, Field(max_length=63, description="The cluster's name, typed.")]
    last: Annotated[bool, Field(description="Even the last good dump of its series.")] = False


class Restore(Asked):
    """Where to, and as of when."""

    target_directory: Annotated[str, Field(examples=["/srv/restore/shop-tuesday"])]
    to: Annotated[str, Field(examples=["latest", "2026-01-15 15:47:21+00"])] = "latest"
    exclusive: bool = False
    timeline: Annotated[str, Field(max_length=10)] = "latest"
    backup: Annotated[str, Field(description="Else the newest that can reach it.")] = ""
    start: Annotated[bool, Field(description="Start the server and follow its recovery.")] = False
    port: Annotated[int | None, Field(ge=1024, le=65535)] = None
    dry_run: bool = False


class Moment(Asked):
    """A moment: one of the three."""

    at: str = ""
    before: str = ""
    event: Annotated[int | None, Field(ge=1, description="Of the last undo find.")] = None

    def words(self) -> list[str]:
        given = [("--at", self.at), ("--before", self.before), ("--event", self.event)]
        return [f"{option}={value}" for option, value in given if value not in ("", None)]


class Sandbox(Moment):
    """A recovered copy to look around in, and how long it stays."""

    stays: Annotated[str, Field(examples=["1h"])] = "1h"


class Undo(Moment):
    """What to bring back, as of when, and how."""

    what: Literal["table", "database"]
    name: Annotated[str, Field(examples=["shop.public.orders"])]
    way: Annotated[
        Literal["beside", "into-place", "merge"],
        Field(description="Of a table: into a new one, made anew, or the missing rows."),
    ] = "beside"
    as_name: Annotated[str, Field(description="What the new one is called.")] = ""
    dry_run: Annotated[bool, Field(description="Say what would be done, and do nothing.")] = False
    confirm: Annotated[str, Field(max_length=63, description="The cluster's name, typed.")] = ""


@router.get("/jobs", **needs("look"))
def jobs(
    shared: Shared,
    who: Who,
    cluster: Annotated[str | None, Query(max_length=63)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """Return jobs, the newest first; those under way with their progress.

    What one reported is in GET /api/jobs/{id}.
    """
    runs = shared.board.jobs(cluster, limit)
    return [shared.acting.seen(who, run).listed() for run in runs]


@router.get("/jobs/upcoming", **needs("look"))
def upcoming(
    shared: Shared, cluster: Annotated[str | None, Query(max_length=63)] = None
) -> list[dict[str, Any]]:
    """Return what the schedule starts next, the soonest first."""
    return [_facts(job) for job in shared.board.upcoming(cluster)]


@router.get("/jobs/{id}", **needs("look"))
def job(id: JobId, shared: Shared, who: Who) -> dict[str, Any]:
    """Return one job: its state, progress, and what it reported.

    Reports of undo show rows: `report` is null for roles that may not undo.
    """
    run = shared.acting.seen(who, shared.board.job(id))
    return {**run.to_dict(), "command": typed(run.job)}


@router.get("/jobs/{id}/log", **needs("look"))
def log(
    id: JobId, shared: Shared, who: Who, offset: Annotated[int, Query(ge=0, le=1 << 40)] = 0
) -> dict[str, Any]:
    """Return a piece of a job's log, and where the next begins. Of an undo: for who may undo."""
    text, next_offset = shared.acting.log(who, id, offset)
    return {"text": text, "next_offset": next_offset}


@router.post("/jobs/{id}/cancel", **needs("jobs-cancel"))
def cancel(id: JobId, shared: Shared, who: Who) -> dict[str, Any]:
    """Ask a job to stop; it cleans up after itself."""
    return shared.acting.cancel(who, id).to_dict()


@router.post("/clusters/{cluster}/jobs", status_code=202, **needs("start"))
def start(cluster: Cluster, body: Words, shared: Shared, who: Who) -> dict[str, Any]:
    """Start a command as a job. What may be started, with which options, depends on the role."""
    return _facts(shared.acting.start(who, cluster, body.words, body.confirm))


@router.post("/clusters/{cluster}/backups/{id}/pin", status_code=202, **needs("pin"))
def pin(cluster: Cluster, id: Id, body: Pin, shared: Shared, who: Who) -> dict[str, Any]:
    """Keep a backup or dump whatever retention says."""
    words = ["pin", id]
    words += [f"--reason={body.reason}"] if body.reason else []
    words += [f"--until={body.until}"] if body.until else []
    return _facts(shared.acting.start(who, cluster, words))


@router.post("/clusters/{cluster}/backups/{id}/unpin", status_code=202, **needs("unpin"))
def unpin(cluster: Cluster, id: Id, shared: Shared, who: Who) -> dict[str, Any]:
    """Let a backup or dump go again: the next expire may delete it."""
    return _facts(shared.acting.start(who, cluster, ["pin", id, "--remove"]))


@router.post("/clusters/{cluster}/backups/{id}/delete", status_code=202, **needs("delete"))
def delete(cluster: Cluster, id: Id, body: Deletion, shared: Shared, who: Who) -> dict[str, Any]:
    """Delete a backup or dump. GET .../deletion says what would be lost."""
    words = ["delete", id, *(["--last"] if body.last else [])]
    return _facts(shared.acting.start(who, cluster, words, body.confirm))


@router.post("/clusters/{cluster}/expire", status_code=202, **needs("expire"))
def expire(cluster: Cluster, confirm: Confirm, shared: Shared, who: Who) -> dict[str, Any]:
    """Delete what retention lets go."""
    return _facts(shared.acting.start(who, cluster, ["expire"], confirm))


@router.post("/clusters/{cluster}/restore", status_code=202, **needs("restore"))
def restore(cluster: Cluster, body: Restore, shared: Shared, who: Who) -> dict[str, Any]:
    """Restore into a new directory below one of [service] restore_directories."""
    words = ["restore", f"--target-dir={body.target_directory}", f"--to={body.to}"]
    words += [f"--timeline={body.timeline}"] if body.timeline != "latest" else []
    words += [body.backup] if body.backup else []
    words += [f"--port={body.port}"] if body.port is not None else []
    flags = {"--exclusive": body.exclusive, "--start": body.start, "--dry-run": body.dry_run}
    words += [flag for flag, wanted in flags.items() if wanted]
    return _facts(shared.acting.start(who, cluster, words))


@router.post("/clusters/{cluster}/sandbox", status_code=202, **needs("sandbox"))
def sandbox(cluster: Cluster, body: Sandbox, shared: Shared, who: Who) -> dict[str, Any]:
    """Recover a copy to a moment and leave it up for a while, for psql on the service's host."""
    words = ["undo", "sandbox", f"--for={body.stays}", *body.words()]
    return _facts(shared.acting.start(who, cluster, words))


@router.post("/clusters/{cluster}/undo", status_code=202, **needs("undo"))
def undo(cluster: Cluster, body: Undo, shared: Shared, who: Who) -> dict[str, Any]:
    """Bring a table or database back. Nothing that is there is overwritten."""
    words = ["undo", body.what, body.name, *body.words()]
    words += [f"--as={body.as_name}"] if body.as_name else []
    if body.what == "table":
        ways = {"into-place": ["--into-place"], "merge": ["--merge=missing"]}
        words += ways.get(body.way, [])
    words += ["--dry-run"] if body.dry_run else []
    return _facts(shared.acting.start(who, cluster, words, body.confirm))


def _facts(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "cluster": job.cluster,
        "kind": job.kind,
        "words": list(job.words),
        "command": typed(job),
        "by": job.by,
        "asked_at": job.asked_at,
        "due_at": job.due_at,
    }
