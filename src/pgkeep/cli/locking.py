"""Locks of objects in buckets: set after the work that needs them, and told of."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pgkeep.cli.context import Context, error_facts, say_problem
from pgkeep.cli.text import Look, plural, safe, table
from pgkeep.errors import PgkeepError
from pgkeep.repository.store.base import StoreFailed

if TYPE_CHECKING:
    from pgkeep.places import Place
    from pgkeep.repository.repository import ClusterFolder
    from pgkeep.repository.store.base import Store
    from pgkeep.repository.store.objectlock.tampering import Tampering
    from pgkeep.repository.store.objectlock.vault import Vault
    from pgkeep.retention.locking.hidden import Hidden
    from pgkeep.retention.locking.report import LockReport

_SHOWN: Final = 20


class Locking(NamedTuple):
    """What locking came to in one repository."""

    repository: str  # its name in the config; '' for the only one
    report: "LockReport | None"
    error: PgkeepError | None

    def facts(self) -> dict[str, Any]:
        if self.report is not None:
            return facts(self.report)
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
        status = 0
        for one in self.done:
            if one.report is not None and not context.json:
                context.say_story(text(one.report, context.look))
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


def facts(done: "LockReport") -> dict[str, Any]:
    return {
        "cluster": done.cluster,
        "repository": done.repository,
        "mode": done.mode.value,
        "dry_run": done.dry_run,
        "needed": done.needed,
        "extended": done.extended,
        "gone": done.gone,
        "until": done.until,
        "longest": done.longest,
        "frozen": done.frozen,
        "unreadable": list(done.unreadable),
        "tampering": [_deed_facts(deed) for deed in done.tampering],
        "error": error_facts(done.problem),
    }


def text(done: "LockReport", look: Look) -> str:
    verb = "would be" if done.dry_run else "were"
    needed = plural(done.needed, "object")
    lines = [f"{needed} must be locked; {done.extended} {verb} locked, or locked longer"]
    if done.until is not None and done.longest is not None:
        held = "would be" if done.dry_run else "are"
        lines.append(
            f"all of them {held} locked until {look.when(done.until)}, "
            f"the longest until {look.when(done.longest)}"
        )
    if done.gone:
        lines.append(f"{plural(done.gone, 'object')} went meanwhile: an expire was at work")
    if done.unreadable:
        ids = ", ".join(map(safe, done.unreadable))
        lines.append(look.bad(f"cannot be read, so what it needs is unknown: {ids}"))
    if done.frozen:
        lines.append(look.bad("everything there was taken for needed, until that is cleared up"))
    if done.dry_run:
        lines.append("dry run: nothing was locked")
    return "\n".join([*lines, *_deeds(done.tampering, look)])


def hidden_facts(found: "Hidden") -> dict[str, Any]:
    return {
        "repository": found.repository,
        "tampering": [_deed_facts(deed) for deed in found.tampering],
        "first": found.first,
        "last": found.last,
        "before": found.before or None,
        "brought_back": found.brought_back,
        "error": error_facts(found.problem),
    }


def hidden_text(found: "Hidden", look: Look) -> str:
    from pgkeep.repository.store.objectlock.tampering import Deed

    if found.first is None or found.last is None:
        return look.good(f"nothing that was locked is hidden in {safe(found.repository)}")
    lines = [
        f"{plural(found.count(Deed.HIDDEN), 'locked object')} hidden, "
        f"{found.count(Deed.OVERWRITTEN)} overwritten, "
        f"from {look.when(found.first)} to {look.when(found.last)}",
        *_deeds(found.tampering, look),
    ]
    if found.brought_back:
        lines.append(look.good(f"brought back: {plural(found.brought_back, 'object')}"))
        return "\n".join(lines)
    return "\n".join(
        [
            *lines,
            "to read the repository as it was before:",
            f"  pgkeep --repository '{safe(found.before)}' list",
            "to make these versions the current ones again: pgkeep hidden --bring-back",
        ]
    )


def _deeds(found: Sequence["Tampering"], look: Look) -> list[str]:
    if not found:
        return []
    rows = [[safe(deed.name), deed.deed.value, look.at(deed.at)] for deed in found[:_SHOWN]]
    lines = [table(["OBJECT", "WAS", "AT"], rows, look)]
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more: --json has all")
    return lines


def _deed_facts(deed: "Tampering") -> dict[str, Any]:
    return {
        "name": deed.name,
        "deed": deed.deed.value,
        "at": deed.at,
        "version": deed.original.id,
        "size": deed.original.size,
    }
