"""The commands that let go: expire, delete; and those that hold: pin, lock, hidden."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import NO, Context, say_problem
from pgkeep.cli.locking import keeping

if TYPE_CHECKING:
    from pgkeep.config.sections import RetentionConfig
    from pgkeep.retention.policy import KeepPolicy

_REASON_LIMIT = 1000  # characters


def register(app: typer.Typer) -> None:
    app.command("expire")(expire)
    app.command("delete")(delete)
    app.command("pin")(pin)
    app.command("lock")(lock)
    app.command("hidden")(hidden)


def policy_of(retention: "RetentionConfig") -> "KeepPolicy":
    """Return what [clusters.NAME.retention], or [retention.REPOSITORY], asks for."""
    from pgkeep.retention.policy import KeepPolicy

    return KeepPolicy(
        window=timedelta(seconds=int(retention.window)),
        daily=retention.daily,
        weekly=retention.weekly,
        monthly=retention.monthly,
        yearly=retention.yearly,
        minimum=retention.minimum,
    )


def expire(
    here: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and delete nothing.")
    ] = False,
) -> int:
    """Delete what retention lets go, and say why the rest stays."""
    from pgkeep.cli.recording import facts_of, new_act, record
    from pgkeep.cli.render import retention as render
    from pgkeep.repository.acts.act import EXPIRE
    from pgkeep.retention.expire import Wish, preview
    from pgkeep.retention.expire import expire as carry_out
    from pgkeep.retention.report import Decision

    context: Context = here.obj
    app, folder, place = context.app, context.app.cluster, context.app.place
    policy = policy_of(app.retention_in(place, app.cluster_name))
    locks = keeping.vault_of(place, folder)
    wish = Wish(
        policy,
        app.zone,
        locks=locks,
        drills=timedelta(seconds=int(app.config.drill.keep)),
        acts=timedelta(seconds=int(app.config.service.keep_acts)),
    )

    def show(found: Decision) -> None:
        # Before anything is deleted: whatever happens then, it was said.
        if not context.json:
            context.say_story(render.decision(found, context.look))

    if dry_run:
        decision, outcome = preview(folder, wish), None
        show(decision)
    else:
        expired = carry_out(folder, wish, show, context.progress)
        decision, outcome = expired.decision, expired.outcome
    locked = keeping.lock_after(context, [place] if outcome is not None else [])
    context.close()
    if context.json:
        facts = render.decision_facts(decision, outcome, dry_run=dry_run)
        context.result(facts | locked.facts() | context.spent(), lambda _: "")
    elif outcome is not None:
        context.say_story(render.outcome(outcome) + context.spent_text())
    elif dry_run and decision.refusal is None:
        context.say_story("dry run: nothing was deleted")
    context.tell_alone("expire")
    problem = render.problem_of(decision, outcome)
    if not dry_run:
        record(context, new_act(folder.name, EXPIRE, problem, facts_of(place)))
    status = locked.say(context)
    return say_problem(problem, status)


def delete(
    here: typer.Context,
    backup_id: Annotated[
        str, typer.Argument(metavar="ID", help="An id or its beginning; unreadable: in full.")
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be lost, and delete nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it.")] = False,
    last: Annotated[
        bool, typer.Option("--last", help="Even the last good dump of its series.")
    ] = False,
) -> int:
    """Delete one backup or dump, after showing what would be lost."""
    from pgkeep.cli.render import retention as render
    from pgkeep.retention.delete import Preview, preview_delete
    from pgkeep.retention.delete import delete as carry_out

    context: Context = here.obj
    folder = context.app.cluster
    locks = keeping.vault_of(context.app.place, folder) if yes and not dry_run else None

    def show(found: Preview) -> None:
        if not context.json:
            context.say_story(render.preview(found, context.look))

    if dry_run or not yes:
        found = preview_delete(folder, backup_id, last_too=last)
        show(found)
        if context.json:
            context.result(render.preview_facts(found, None, dry_run=dry_run), lambda _: "")
        else:
            how = f"pgkeep delete {found.id}{' --last' if last else ''} --yes"
            context.say_story(f"nothing was deleted; to do it: {how}")
        return 0 if dry_run else NO
    found, done = carry_out(folder, backup_id, show, context.progress, last_too=last, locks=locks)
    context.close()
    if context.json:
        context.result(render.preview_facts(found, done), lambda _: "")
    else:
        context.say_story(render.outcome(done))
    context.tell_alone(f"delete {found.id}")
    return say_problem(done.problem, 0 if done.backups or done.dumps else NO)  # NO: it is locked


def pin(
    here: typer.Context,
    backup_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="An id or its beginning; without: list all pins."),
    ] = None,
    *,
    reason: Annotated[str, typer.Option(help="Why it has to stay: for people.")] = "",
    until: Annotated[
        str | None, typer.Option(metavar="DATE|DURATION", help="Like 2027-01-31 or 90d.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Let it go again.")] = False,
) -> None:
    """Keep a backup or dump whatever retention says, or list what is kept so."""
    context: Context = here.obj
    if backup_id is None:
        if reason or until or remove:
            raise typer.BadParameter(
                "which one is meant? pgkeep list and pgkeep dump list show their ids"
            )
        _list_pins(context)
    elif remove:
        if reason or until:
            raise typer.BadParameter("--remove takes neither --reason nor --until")
        _remove_pins(context, backup_id)
    elif not reason.strip() or len(reason) > _REASON_LIMIT:
        raise typer.BadParameter("a pin has a --reason of 1 to 1,000 characters")
    else:
        _add_pin(context, backup_id, reason.strip(), until)


def _list_pins(context: Context) -> None:
    from pgkeep.cli.render import retention as render
    from pgkeep.retention.pins import read_pins

    found, now = read_pins(context.app.cluster), datetime.now(UTC)
    context.result(
        {"pins": [render.pin_facts(one, now) for one in found]},
        lambda look: render.pins(found, now, look),
    )


def _remove_pins(context: Context, text: str) -> None:
    from pgkeep.cli.render import retention as render
    from pgkeep.retention.pins import find_pins, remove_pins

    found, now = find_pins(context.app.cluster, text), datetime.now(UTC)
    remove_pins(context.app.cluster, found)
    context.result(
        {"removed": [render.pin_facts(one, now) for one in found]},
        lambda _: render.unpinned(found),
    )
    context.tell_alone(f"pin --remove {text}")


def _add_pin(context: Context, text: str, reason: str, until: str | None) -> None:
    from pgkeep.cli.render import retention as render
    from pgkeep.repository import catalog, dumps
    from pgkeep.retention.pins import add_pin, parse_end

    folder, now = context.app.cluster, datetime.now(UTC)
    found = dumps.find_any(catalog.backups(folder), dumps.dumps(folder), text)
    end = None if until is None else parse_end(until, now, context.app.zone)
    made = add_pin(folder, found.id, reason, end, now)
    context.result(render.pin_facts(made, now), lambda look: render.pinned(made, look))
    context.tell_alone(f"pin {made.backup} --reason ...")


def lock(
    here: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be locked, and lock nothing.")
    ] = False,
) -> int:
    """Lock in the bucket what retention keeps, for as long as it is needed."""
    from pgkeep.cli.locking import text as render

    context: Context = here.obj
    place = context.app.place
    if place.section.lock == "none" and not dry_run:
        raise typer.BadParameter(
            'set lock = "governance" or "compliance" in [repository] first; --dry-run shows what '
            "governance would do"
        )
    done = keeping.lock_kept(context, place, dry_run=dry_run)
    context.close()
    context.result(render.facts(done), lambda look: render.text(done, look))
    return say_problem(done.problem)


def hidden(
    here: typer.Context,
    *,
    bring_back: Annotated[
        bool,
        typer.Option("--bring-back", help="Make the locked versions the current ones again."),
    ] = False,
) -> int:
    """Show which locked objects somebody has hidden or overwritten."""
    from pgkeep.cli.locking import text as render
    from pgkeep.retention.locking.hidden import look_for_hidden

    context: Context = here.obj
    store = context.app.store
    found = look_for_hidden(
        store, keeping.counted_vault(store), context.progress, bring_back=bring_back
    )
    context.close()
    context.result(render.hidden_facts(found), lambda look: render.hidden_text(found, look))
    return say_problem(found.problem)
