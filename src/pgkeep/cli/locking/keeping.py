"""Locks of objects in buckets: set after the work that needs them, and told of."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from pgkeep.cli.context import Context, error_facts, say_problem
from pgkeep.errors import PgkeepError
from pgkeep.repository.store.base import StoreFailed
from pgkeep.units import plural

if TYPE_CHECKING:
    from pgkeep.places import Place
    from pgkeep.repository.repository import ClusterFolder
    from pgkeep.repository.store.base import Store
    from pgkeep.repository.store.objectlock.vault import Vault
    from pgkeep.retention.locking.report import LockReport


class Locking(NamedTuple):
    """What locking came to in one repository."""

    repository: str  # its name in the config; '' for the only one
    report: "LockReport | None"
    error: PgkeepError | None

    def facts(self) -> dict[str, Any]:
        from pgkeep.cli.locking import text as render

        if self.report is not None:
            return render.facts(self.report)
        return {"repository": self.repository, "error": error_facts(self.error)}


class Locked(NamedTuple):
    """What locking came to, beside the work that it follows."""

    done: tuple[Locking, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return what a report shows of it; nothing where no locks are wanted."""
        if not self.done:
            return {}
        return {"locks": [one.facts() for one in self.done]}

    def say(self, context: Context) -> int:
        """Say it, in text; return the exit status."""
        from pgkeep.cli.locking import text as render

        status = 0
        for one in self.done:
            if one.report is not None and not context.json:
                context.say_story(render.text(one.report, context.look))
            said = say_problem(one.error)
            status = status or said
        return status


def vault_of(place: "Place", folder: "ClusterFolder") -> "Vault | None":
    """Return the locks of a repository's objects; None where the config wants none."""
    return None if place.section.lock == "none" else counted_vault(folder.store)


def counted_vault(store: "Store") -> "Vault":
    """Return the locks of a store's objects; asking counts as the store's. Raise NoLocks."""
    from pgkeep.repository.metering.metered import counter
    from pgkeep.repository.store.objectlock.vault import open_vault

    return open_vault(store, counter(store.url))


def lock_kept(context: Context, place: "Place", *, dry_run: bool = False) -> "LockReport":
    """Lock what retention keeps in one repository. Raise NoLocks and what locking raises.

    When it cannot be told what is kept, because that was hidden, everything is locked before.
    """
    from pgkeep.cli.commands.retention import policy_of
    from pgkeep.repository.metering.opening import open_metered
    from pgkeep.repository.store.objectlock.vault import LockMode
    from pgkeep.retention.expire import ClockDiffers, Wish
    from pgkeep.retention.locking.lock import LockWish, freeze, lock_objects
    from pgkeep.retention.locking.plan import LockRules

    section, app = place.section, context.app
    mode = LockMode.GOVERNANCE if section.lock == "none" else LockMode(section.lock)
    ahead, maximum = (timedelta(seconds=s) for s in (section.lock_ahead, section.lock_maximum))
    keep = Wish(policy_of(app.retention_in(place, app.cluster_name)), app.zone)
    wish = LockWish(keep, mode, LockRules(ahead, maximum))
    store = open_metered(place.address)
    vault = counted_vault(store)
    try:
        folder = place.open(store).cluster(app.cluster_name)
        return lock_objects(folder, vault, wish, context.progress, dry_run=dry_run)
    except (StoreFailed, ClockDiffers):
        raise
    except PgkeepError:
        frozen = 0 if dry_run else freeze(vault, mode, wish.rules, context.progress)
        if frozen:
            what = f"all {plural(frozen, 'version')} of objects there"
            context.note(f"locked objects were hidden or overwritten: {what} are locked now")
        raise


def lock_after(context: Context, places: Sequence["Place"]) -> Locked:
    """Lock what is kept in those repositories that want it. What goes wrong is told, not raised.

    The work that it follows is done, and stays done.
    """
    wanting = [place for place in places if place.section.lock != "none"]
    return Locked(tuple(_lock_in(context, place) for place in wanting))


def _lock_in(context: Context, place: "Place") -> Locking:
    try:
        report = lock_kept(context, place)
    except PgkeepError as error:
        return Locking(place.name, None, error)
    return Locking(place.name, report, report.problem)
