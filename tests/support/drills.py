"""Drills of a scene: restored for real, and what they found."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from pgkeep.drill.drill import drill
from pgkeep.drill.looking.queries import Query
from pgkeep.drill.request import RANDOM, DrillRequest, Wishes
from pgkeep.model.expectation import parse_expectation
from pgkeep.model.target import Latest, RecoveryTarget, parse_target
from pgkeep.repository.drills.report import Check, CheckKind, Report, Status
from pgkeep.sandbox.request import SandboxRequest
from pgkeep.server.scratch import ScratchCluster
from support.restores import Scene


def query(text: str, expect: str, words: str = "", database: str = "postgres") -> Query:
    return Query(text, database, parse_expectation(expect), words)


def drilled(
    scene: Scene,
    wanted: str | None = None,
    *,
    to: str = "latest",
    queries: Sequence[Query] = (),
    may_be_empty: Sequence[str] = (),
    pg_bin: str | None = None,
    **more: Any,
) -> Report:
    """Make a drill and return its report, which must be in the repository; nothing else is left."""
    directory = scene.place / "drills"
    sandbox = SandboxRequest(
        RecoveryTarget(Latest() if to == RANDOM else parse_target(to, UTC)),
        directory=str(directory),
        jobs=1,
        fetch_command=scene.request().fetch_command,
        environment=tuple(scene.environment.items()),
        pg_bin=pg_bin,
        purpose="pgkeep drill",
    )
    wishes = Wishes(queries=tuple(queries), may_be_empty=tuple(may_be_empty))
    request = DrillRequest(sandbox=sandbox, wanted=wanted, asked=to, wishes=wishes, **more)
    report, problem = drill(scene.folder, request)
    assert problem is None
    assert list(directory.iterdir()) == []
    return report


def states(report: Report) -> dict[str, str]:
    """Return what every check came to, by its title."""
    return {check.title: check.status.value for check in report.checks}


def check_of(report: Report, kind: CheckKind) -> Check:
    (found,) = (check for check in report.checks if check.kind is kind)
    return found


def failed(report: Report, kind: CheckKind) -> str:
    """Return words and evidence of a check that must have failed."""
    found = check_of(report, kind)
    assert found.status is Status.FAILED, found
    return "\n".join([found.words, *found.evidence])


def damage_page(pg: ScratchCluster, database: str, table: str) -> None:
    """Overwrite rows of a table's first page on disk, as a rotting disk does."""
    path = pg.value("SELECT pg_relation_filepath(%s)", table, dbname=database)
    pg.sql("CHECKPOINT")
    pg.stop()
    with (pg.data_directory / path).open("r+b") as file:
        file.seek(8000)
        file.write(b"\xa5" * 64)
    pg.start()
