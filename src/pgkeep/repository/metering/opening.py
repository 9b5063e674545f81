"""From an address to a store that counts."""

from typing import Final

from pgkeep.repository.metering.metered import Metered, traffic
from pgkeep.repository.metering.traffic import Traffic
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.open import open_store

_URLS: Final[dict[str, str]] = {}  # of what was opened here, by its address


def open_metered(address: str) -> Store:
    """open_store(), counted; of copies each by itself."""
    store = open_store(address, Metered)
    _URLS[address] = store.url
    return store


def traffic_at(address: str) -> tuple[str, Traffic]:
    """Return the url of the store at an address, and what was asked of it since it was opened.

    Nothing where it never was: only an open store tells its url, and some take long to import.
    """
    url = _URLS.get(address)
    return ("", Traffic()) if url is None else (url, traffic(url))
