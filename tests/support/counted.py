"""What the workers of a test do: functions that a fresh process can import."""

from pgkeep.repository.metering.opening import open_metered


def nothing() -> None:
    """Begin a worker."""


def put_and_get(address: str, name: str) -> None:
    """Store four bytes and read them."""
    store = open_metered(address)
    store.create(name, [b"1234"])
    store.get(name)
