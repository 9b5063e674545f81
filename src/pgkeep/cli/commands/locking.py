"""The commands about locks of objects in buckets: lock, hidden."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pgkeep.cli.context import Context, error_facts, say_error
from pgkeep.errors import PgkeepError

if TYPE_CHECKING:
    from pgkeep.places import Place
    from pgkeep.repository.repository import ClusterFolder
    from pgkeep.repository.store.objectlock.vault import Vault
    from pgkeep.retention.locking.report import LockReport


def register(app: typer.Typer) -> None:
    app.command("lock")(lock)
    app.command("hidden")(hidden)


class Locked(NamedTuple):
    """What locking came to, beside the work that it follows."""

    report: "LockReport | None" = None
    error: PgkeepError | None = None

    def facts(self) -> dict[str, Any]:
        """Return what a report shows of it; nothing where no locks are wanted."""
        if self.report is None and self.error is None:
            return {}
        from pgkeep.cli.render import locking as render

        told = render.facts(self.report) if self.report is not None else None
        failed = self.error if self.report is None else None
        return {"locks": told, "locks_error": error_facts(failed) if failed else None}

    def say(self, context: Context) -> int:
        """Say it, in text; return the exit status."""
        from pgkeep.cli.render import locking as render

        if self.report is not None and not context.json:
            context.say_story(render.report(self.report, context.look))
        if self.error is None:
            return 0
        say_error(self.error)
        return self.error.exit_status


def vault_of(place: "Place", folder: "ClusterFolder") -> "Vault | None":
    """Return the locks of a repository's objects; None where the config wants none."""
    from pgkeep.repository.store.objectlock.vault import open_vault

    return None if place.section.lock == "none" else open_vault(folder.store)


def lock_kept(
    context: Context, place: "Place", folder: "ClusterFolder", *, dry_run: bool = False
) -> "LockReport":
    """Lock what retention keeps in one repository. Raise NoLocks and what locking raises."""
    from pgkeep.cli.commands.retention import policy_of
    from pgkeep.repository.store.objectlock.vault import LockMode, open_vault
    from pgkeep.retention.expire import Wish
    from pgkeep.retention.locking.lock import LockWish, lock_objects
    from pgkeep.retention.locking.plan import LockRules

    section, app = place.section, context.app
    mode = LockMode.GOVERNANCE if section.lock == "none" else LockMode(section.lock)
    ahead, maximum = (timedelta(seconds=s) for s in (section.lock_ahead, section.lock_maximum))
    keep = Wish(policy_of(app.settings.retention), app.zone)
    wish = LockWish(keep, mode, LockRules(ahead, maximum))
    vault = open_vault(folder.store)
    return lock_objects(folder, vault, wish, context.progress, dry_run=dry_run)


def lock_after(context: Context, place: "Place", folder: "ClusterFolder") -> Locked:
    """Lock what is kept, if the config wants that. What goes wrong is told, not raised.

    The work that it follows is done, and stays done.
    """
    if place.section.lock == "none":
        return Locked()
    try:
        report = lock_kept(context, place, folder)
    except PgkeepError as error:
        return Locked(None, error)
    return Locked(report, report.problem)


def lock(
    here: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be locked, and lock nothing.")
    ] = False,
) -> int:
    """Lock in the bucket what retention keeps, for as long as it is needed."""
    from pgkeep.cli.render import locking as render

    context: Context = here.obj
    place = context.app.place
    if place.section.lock == "none" and not dry_run:
        raise typer.BadParameter(
            'set lock = "governance" or "compliance" in [repository] first; --dry-run shows what '
            "governance would do"
        )
    done = lock_kept(context, place, context.app.cluster, dry_run=dry_run)
    context.close()
    context.result(render.facts(done), lambda look: render.report(done, look))
    if done.problem is None:
        return 0
    say_error(done.problem)
    return done.problem.exit_status


def hidden(
    here: typer.Context,
    *,
    bring_back: Annotated[
        bool,
        typer.Option("--bring-back", help="Make the locked versions the current ones again."),
    ] = False,
) -> int:
    """Show which locked objects somebody has hidden or overwritten in the bucket."""
    from pgkeep.cli.render import locking as render
    from pgkeep.repository.store.objectlock.vault import open_vault
    from pgkeep.retention.locking.hidden import look_for_hidden

    context: Context = here.obj
    store = context.app.store
    found = look_for_hidden(store, open_vault(store), context.progress, bring_back=bring_back)
    context.close()
    context.result(render.hidden_facts(found), lambda look: render.hidden(found, look))
    if found.problem is None:
        return 0
    say_error(found.problem)
    return found.problem.exit_status
