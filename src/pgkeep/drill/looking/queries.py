"""The user's own questions to a restored copy."""

from dataclasses import dataclass
from typing import Final

import psycopg

from pgkeep.drill.finding import Finding, failed, passed, untested
from pgkeep.model.expectation import Expectation
from pgkeep.server.connecting import CannotConnect, connect

_SHOWN: Final = 120  # characters of a query
_ROWS: Final = 2  # that are fetched: one to look at


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked where, what must come back, and what it means when it does not."""

    text: str
    database: str
    expect: Expectation
    words: str

    @property
    def name(self) -> str:
        line = " ".join(self.text.split())
        return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def ask(conninfo: str, query: Query, timeout_s: int) -> Finding:
    """Run a query in a transaction that cannot write, and look at what comes back."""
    try:
        with connect(conninfo, dbname=query.database) as connection:
            connection.autocommit = True
            connection.execute(f"SET statement_timeout = {timeout_s * 1000}".encode())
            connection.execute("SET default_transaction_read_only = on")
            cursor = connection.execute(query.text.encode())
            rows = cursor.fetchmany(_ROWS) if cursor.description else []
    except CannotConnect as error:
        return failed(_said(query, f"database {query.database} cannot be asked"), [str(error)])
    except psycopg.errors.QueryCanceled:
        return untested(f"no answer within {timeout_s} s (query_timeout under [drill])")
    except psycopg.Error as error:
        if (error.sqlstate or "").startswith("53"):  # insufficient_resources: disk, memory
            return untested("this machine has no room for the query", [str(error)])
        first = str(error).strip().splitlines() or [type(error).__name__]
        return failed(_said(query, "the query itself failed"), first)
    why = query.expect.why_not(rows)
    return failed(_said(query, why)) if why else passed(f"returned {query.expect}")


def _said(query: Query, why: str) -> str:
    return f"{query.words}: {why}" if query.words else why
