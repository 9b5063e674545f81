"""The commands of alerts: test, list."""

from typing import Annotated, Any

import typer

from pgkeep.cli.context import NO, Context, group


def register(app: typer.Typer) -> None:
    alert = typer.Typer(
        help="Who is told when something is wrong.", callback=group, invoke_without_command=True
    )
    alert.command("test")(try_alerts)
    alert.command("list")(list_)
    app.add_typer(alert, name="alert")


def try_alerts(
    here: typer.Context,
    channel: Annotated[
        str | None, typer.Argument(metavar="[CHANNEL]", help="Its name; else all.")
    ] = None,
) -> int:
    """Send a test message through every channel, and tell which of them took it.

    That it was taken is recorded in the repository; whether somebody reads it, only you can tell.
    """
    from pgkeep.alerts.testing import test_channels
    from pgkeep.cli.alerting import text as render

    context: Context = here.obj
    known = context.app.config.alerts.channels
    chosen = [one for one in known if channel in (None, one.name)]
    if not chosen:
        names = ", ".join(one.name for one in known)
        there = f"no channel is called {channel!r}: there is {names}"
        nobody = "nobody is told: the config has no [[alerts.channels]]"
        raise typer.BadParameter(f"{there if known else nobody} (docs/alerts.md)")
    report = test_channels(context.app, chosen, context.progress)
    context.close()
    context.result(report.to_dict(), lambda look: render.tested(report, look))
    return 0 if report.is_good else NO


def list_(here: typer.Context) -> int:
    """Show the channels, what each of them hears, and when it hears nothing."""
    from pgkeep.cli.alerting import text as render

    context: Context = here.obj
    alerts = context.app.config.alerts
    facts: dict[str, Any] = {
        "channels": [
            {
                "name": one.name,
                "service": render.service(one),
                "levels": one.levels or ["critical", "warning", "digest"],
                "clusters": one.clusters,
                "quiet": one.quiet,
            }
            for one in alerts.channels
        ],
        "digest": alerts.digest,
        "remind_every_s": int(alerts.remind_every),
        "ping": bool(alerts.ping),
    }
    context.result(facts, lambda look: render.channels(facts, look))
    return 0
