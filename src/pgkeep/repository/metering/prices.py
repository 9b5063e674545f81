"""What providers charge, and what that makes of traffic and of stored bytes. Pure.

LIST holds the public list prices of the providers' standard classes in their US regions, in US
dollars, as they were known in 2025: written down from memory, not looked up since. Discounts, free
tiers, cheaper classes and other regions are left out: pgkeep.toml says what a bucket really costs.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from pgkeep.repository.metering.traffic import Traffic
from pgkeep.units import GIB

AS_OF: Final = "2025"


class Prices(NamedTuple):
    """In whole units of one currency. Deleting is free everywhere."""

    write: float  # 1,000 requests that store or list
    read: float  # 1,000 requests that read, or ask for a size
    egress: float  # a GB (2^30 bytes, as providers count) that leaves the provider's network
    stored: float  # a GB for a month

    @property
    def free(self) -> bool:
        return not any(self)


FREE: Final = Prices(0.0, 0.0, 0.0, 0.0)  # a disk is paid for, whatever is asked of it
LIST: Final[Mapping[str, Prices]] = {
    "s3": Prices(write=0.005, read=0.0004, egress=0.09, stored=0.023),  # Standard
    "gs": Prices(write=0.005, read=0.0004, egress=0.12, stored=0.020),  # Standard, one region
    "az": Prices(write=0.005, read=0.0004, egress=0.087, stored=0.0184),  # Blob Storage, hot, LRS
}


class Tariff(NamedTuple):
    """Prices, and where they are from."""

    prices: Prices
    listed: bool  # at least one is a list price


class Spent(NamedTuple):
    """What was asked of one repository, and what its provider takes for it."""

    repository: str
    traffic: Traffic
    tariff: Tariff

    @property
    def cost(self) -> float:
        return cost_of(self.traffic, self.tariff.prices)


def list_prices(address: str) -> Prices:
    """Return the list prices of whoever is at an address; directories and sftp cost nothing.

    So do servers that speak S3 and are not Amazon's: nobody knows their prices.
    """
    scheme, _, rest = address.partition("://")
    if "endpoint=" in rest.partition("?")[2]:
        return FREE
    return LIST.get(scheme, FREE)


def cost_of(traffic: Traffic, prices: Prices) -> float:
    """Return what these requests cost, and the bytes if they leave the provider's network."""
    return requests_cost(traffic, prices) + egress_cost(traffic.received, prices)


def requests_cost(traffic: Traffic, prices: Prices) -> float:
    writes, reads = traffic.puts + traffic.lists, traffic.gets + traffic.stats
    return (writes * prices.write + reads * prices.read) / 1000


def egress_cost(size: int, prices: Prices) -> float:
    return size / GIB * prices.egress


def monthly_cost(size: int, prices: Prices) -> float:
    """Return what it costs to keep so many bytes for a month."""
    return size / GIB * prices.stored
