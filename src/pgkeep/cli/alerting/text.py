"""Alert channels as text; their addresses are secrets."""

from typing import Any

from pgkeep.alerts.testing import AlertTest
from pgkeep.cli.text import Look, safe, table
from pgkeep.config.service import ChannelConfig
from pgkeep.units import format_duration


def service(channel: ChannelConfig) -> str:
    """Return the kind of an address: what stands before ://."""
    if channel.url_file:
        return f"in {channel.url_file}"
    scheme, there, _ = channel.url.reveal().partition("://")
    return scheme if there else "no address"  # without ://, all of it may be the secret


def channels(facts: dict[str, Any], look: Look) -> str:
    if not facts["channels"]:
        return "nobody is told: add [[alerts.channels]] to pgkeep.toml (docs/alerts.md)"
    rows = [
        (
            one["name"],
            one["service"],
            ", ".join(one["levels"]),
            ", ".join(one["clusters"]) or "all",
            ", ".join(one["quiet"]) or "never",
        )
        for one in facts["channels"]
    ]
    header = ("channel", "service", "hears", "clusters", "quiet")
    every = format_duration(facts["remind_every_s"])
    ping = "fetched while all is well" if facts["ping"] else "none: nobody sees if this host dies"
    return (
        f"{table(header, rows, look)}\n\n"
        f"reminders every {every}; digest {safe(facts['digest'])}; ping outside: {ping}"
    )


def tested(report: AlertTest, look: Look) -> str:
    lines = []
    for one in report.channels:
        if one.delivered:
            took = format_duration(one.seconds)
            lines.append(f"{look.good('ok')}      {safe(one.name)}: taken in {took}")
        else:
            lines.append(f"{look.bad('failed')}  {safe(one.name)}: {safe(one.why)}")
            lines.append(f"        hint: {safe(one.hint)}")
    if report.note:
        lines.append(f"note: {safe(report.note)}")
    if any(one.delivered for one in report.channels):
        lines.append("see that it has arrived: that it was taken is all that pgkeep can tell")
    return "\n".join(lines)
