"""From an address to a store that counts."""

from pgkeep.repository.metering.metered import Metered
from pgkeep.repository.store.base import Store
from pgkeep.repository.store.open import open_store


def open_metered(address: str) -> Store:
    """open_store(), counted; of copies each by itself."""
    return open_store(address, Metered)
