"""The shop of the demo: customers, orders, and what is known of them at a moment."""

from datetime import UTC, datetime
from typing import NamedTuple

from pgkeep.server.scratch import ScratchCluster

CUSTOMERS = 2_000
FIRST_ORDERS = 20_000
MORE_ORDERS = 5_000

_TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer int NOT NULL REFERENCES customers,
    placed timestamptz NOT NULL DEFAULT clock_timestamp(),
    cents int NOT NULL,
    note text NOT NULL
);
CREATE INDEX ON orders (customer);
"""

_BOOKS = """
SELECT count(*), sum(cents), md5(string_agg(o::text, ';' ORDER BY id)) FROM orders AS o
"""


class Books(NamedTuple):
    """What the shop's books say: enough to see whether a single order is lost or invented."""

    orders: int
    cents: int
    digest: str  # of every order, in order

    @property
    def euros(self) -> str:
        return f"{self.cents / 100:,.2f} €"


def open_shop(cluster: ScratchCluster) -> None:
    """Create the tables, with the orders of the first days."""
    cluster.sql(_TABLES)
    cluster.sql(
        "INSERT INTO customers SELECT id, 'customer ' || id FROM generate_series(1, %s) AS id",
        CUSTOMERS,
    )
    sell(cluster, FIRST_ORDERS)


def sell(cluster: ScratchCluster, orders: int, a_transaction: int = 250) -> None:
    """Place orders, some hundreds to a transaction."""
    with cluster.connect() as connection:
        for _ in range(0, orders, a_transaction):
            connection.execute(
                "INSERT INTO orders (customer, cents, note) "
                "SELECT 1 + (random() * (%s - 1))::int, (random() * 20000)::int, "
                "md5(random()::text) FROM generate_series(1, %s)",
                (CUSTOMERS, a_transaction),
            )


def books(cluster: ScratchCluster, **connection: str) -> Books:
    """Count and sum up the orders, in one snapshot; `connection` may say another port."""
    with cluster.connect(**connection) as session:
        row = session.execute(_BOOKS).fetchone()
    assert row is not None
    return Books(*row)


def clock(cluster: ScratchCluster) -> datetime:
    """Return the server's time, to the microsecond."""
    moment = cluster.value("SELECT clock_timestamp()")
    assert isinstance(moment, datetime)
    return moment.astimezone(UTC)
