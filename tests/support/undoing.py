"""A live cluster and a copy of it as it was before an accident, for undo without a restore."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pgkeep.progress import Progress, Silent
from pgkeep.server.scratch import ScratchCluster
from pgkeep.undo.returning.bring_back import Returning, ReturnRequest, open_return
from pgkeep.undo.returning.names import TableName, parse_table
from pgkeep.undo.returning.plan import Way
from pgkeep.undo.returning.report import UndoReport

DATABASE = "app"


@dataclass(frozen=True, slots=True)
class Pair:
    """The live cluster, and what a recovered copy of it would be."""

    live: ScratchCluster
    recovered: ScratchCluster

    @contextmanager
    def returning(
        self, table: str | TableName, way: str = "as", progress: Progress | None = None, **more: Any
    ) -> Iterator[Returning]:
        name = parse_table(f"{DATABASE}.{table}") if isinstance(table, str) else table
        request = ReturnRequest(table=name, way=Way(way), **more)
        to = (self.recovered.conninfo, self.live.conninfo)
        with open_return(*to, request, progress or Silent()) as found:
            yield found

    def bring_back(self, table: str | TableName, way: str = "as", **more: Any) -> UndoReport:
        with self.returning(table, way, **more) as found:
            return found.carry_out(datetime.now(UTC))

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query on the live server."""
        return self.live.sql(query, *values, dbname=DATABASE)

    def then(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query on the copy."""
        return self.recovered.sql(query, dbname=DATABASE)

    def assert_same(self, query: str) -> None:
        """Both servers give the same rows, and some."""
        found = self.sql(query)
        assert found
        assert found == self.then(query)

    def assert_same_definitions(self, *except_for: str) -> None:
        """pg_dump writes the same of both databases, but for lines with these words."""
        assert definitions(self.live, except_for) == definitions(self.recovered, except_for)


def make_pair(live: ScratchCluster, place: Path, script: str) -> Pair:
    """Run a script in a new database, and copy the cluster as it is then.

    There is a tablespace besides PostgreSQL's own: elsewhere.
    """
    live.sql(f"CREATE DATABASE {DATABASE}")
    with live.connect() as connection:
        # In the data directory, so that the copy has one of its own.
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute("CREATE TABLESPACE elsewhere LOCATION ''")
    with live.connect(dbname=DATABASE) as connection:
        connection.execute(script.encode())
    live.stop()
    recovered = ScratchCluster(live.binaries, place / "recovered", template=live.data_directory)
    try:
        recovered.create()
        recovered.start()
        live.start()
    except BaseException:
        recovered.destroy()
        raise
    return Pair(live, recovered)


PairMaker = Callable[[str], Pair]


def definitions(cluster: ScratchCluster, except_for: tuple[str, ...] = ()) -> list[str]:
    """Return the statements of a database, in pg_dump's order, without comments."""
    text = cluster.tool("pg_dump", "--schema-only", f"--dbname={DATABASE}").stdout
    lines = [
        line
        for line in text.splitlines()
        if line and not line.startswith(("--", "\\")) and not any(w in line for w in except_for)
    ]
    return sorted(lines)
