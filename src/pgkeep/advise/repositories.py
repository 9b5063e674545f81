"""Where a plan's repositories are, and in which of them everything is at once. Pure."""

from typing import Final, NamedTuple

from pgkeep.advise.facts import SCHEMES, prices_of
from pgkeep.advise.wishes import Hosting, Provider, Wishes
from pgkeep.repository.metering.prices import FREE, Prices

DISK: Final = "disk"
BUCKET: Final = "bucket"
HOST: Final = "another host"


class Spot(NamedTuple):
    """One repository."""

    name: str
    kind: str  # DISK, BUCKET, HOST
    url: str
    elsewhere: bool  # whether it outlives the database's site and account
    note: str  # what its owner must see to
    prices: Prices


def spots(wishes: Wishes) -> tuple[Spot, ...]:
    """Return the repositories that are wanted, the one that restores read first."""
    if wishes.hosting is Hosting.MANAGED:
        # The service's own backups are the copy beside the database: one place outside is enough.
        return (_far(wishes, "main") if wishes.offsite else _near(wishes),)
    first = _near(wishes)
    if not wishes.offsite or first.elsewhere:
        return (first,)
    return (first, _far(wishes, "offsite"))


def _scheme(wishes: Wishes) -> str:
    return "s3" if wishes.provider is Provider.OTHER else SCHEMES.get(wishes.provider, "")


def _near(wishes: Wishes) -> Spot:
    scheme = _scheme(wishes)
    if scheme and (wishes.hosting is not Hosting.SELF or not wishes.offsite):
        # From a machine of one's own, a bucket is another site already.
        elsewhere = wishes.hosting is Hosting.SELF
        url = f"{scheme}://pgkeep-main/main"
        return Spot("main", BUCKET, url, elsewhere, "your bucket", prices_of(wishes.provider))
    note = "a disk of its own, not the database's: better another machine's"
    return Spot("local", DISK, "/var/lib/pgkeep", False, note, FREE)


def _far(wishes: Wishes, name: str) -> Spot:
    scheme = _scheme(wishes)
    if scheme:
        note = "another account, another region than the database's"
        url = f"{scheme}://pgkeep-{name}/main"
        return Spot(name, BUCKET, url, True, note, prices_of(wishes.provider))
    note = "a host in another place, with a login of its own"
    return Spot(name, HOST, f"sftp://pgkeep@{name}/srv/pgkeep", True, note, FREE)
