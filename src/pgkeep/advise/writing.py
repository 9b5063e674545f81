"""The chosen plan as pgkeep.toml, and the settings that PostgreSQL needs for it. Pure."""

import json
from collections.abc import Iterator
from math import ceil
from typing import Final

from pgkeep.advise.draft import Plan
from pgkeep.advise.repositories import Spot
from pgkeep.advise.wishes import Hosting, Wishes
from pgkeep.units import format_duration, format_size

_CONNINFO: Final = "host=/var/run/postgresql dbname=postgres"
_OWN: Final = "as in your config: bring its other options along"
_AT_RISK: Final = 0.8  # of an objective: from there on `pgkeep status` warns


def config_text(
    plan: Plan, wishes: Wishes, *, cluster: str = "main", conninfo: str = "", url: str = ""
) -> str:
    """Return a pgkeep.toml that is valid as it stands; addresses are to be made one's own."""
    key = json.dumps(cluster) if "." in cluster else cluster
    lines = [
        f"# {plan.title}. Made by pgkeep advise; every option: docs/configuration.md",
        f"# For {format_size(wishes.size)} and {format_size(wishes.wal_per_day)} of WAL a day. "
        f"Expected: at most {format_duration(plan.rpo)} lost,",
        f"# back within {format_duration(plan.rto)}. When that changes: pgkeep advise --inspect",
        *(f"# Not met: {one.wish}: {one.says}. It takes {one.takes}." for one in plan.unmet),
        "",
        *_repositories(plan, url),
        "",
        *_settings(plan, wishes),
        f"[clusters.{key}]",
        f"conninfo = {_quoted(conninfo or _CONNINFO)}  # passwords: ~/.pgpass or a service file",
        "",
        f"[clusters.{key}.schedule]  # carried out by pgkeep serve",
        *(f"{kind} = {json.dumps(words)}" for kind, words in plan.schedule.items()),
        "",
        f"[clusters.{key}.objectives]  # pgkeep status warns when they are at risk",
        _objective("rpo", wishes.rpo, plan.rpo),
        _objective("rto", wishes.rto, plan.rto),
        f'drill_every = "{10 if plan.schedule["drill"].startswith("weekly") else 35}d"',
        "",
        f"[clusters.{key}.retention]  # pgkeep expire removes the rest",
        f'window = "{_duration(ceil(wishes.window))}"  # any second of it',
        *(f"{name} = {getattr(wishes, name)}" for name in ("daily", "weekly", "monthly")),
        "",
        "# Without a channel nobody is told: docs/alerts.md",
        "# [[alerts.channels]]",
        '# name = "dba"',
        '# url_file = "/etc/pgkeep/dba.url"  # mailtos://user:password@example.com?to=dba@example.com',
    ]
    return "\n".join(lines) + "\n"


def _settings(plan: Plan, wishes: Wishes) -> list[str]:
    statements = settings_text(plan, wishes)
    if not statements:
        return []
    return ["# The server's settings for this plan:", *(f"#   {s}" for s in statements.split("\n"))]


def _objective(name: str, wanted: float, expected: float) -> str:
    """Return the goal; where the plan cannot reach it, what it can keep without a warning."""
    if expected <= wanted:
        return f'{name} = "{_duration(max(1, int(wanted)))}"'
    return (
        f'{name} = "{_duration(ceil(expected / _AT_RISK))}"  # wanted: {format_duration(wanted)}, '
        "which this plan cannot promise"
    )


def _duration(seconds: int) -> str:
    """Return it in the largest unit that says it exactly."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _repositories(plan: Plan, url: str) -> Iterator[str]:
    first, *others = plan.places
    if url:  # somebody has a repository already
        first = first._replace(url=url, note=_OWN, elsewhere=False)
    if not others:
        yield "[repository]"
        yield from _repository(first)
        return
    if plan.write_all:
        names = ", ".join(json.dumps(place.name) for place in plan.places)
        yield f"write = [{names}]  # WAL counts as archived when all have it: docs/copies.md"
        yield ""
    for number, place in enumerate((first, *others)):
        if number:
            yield ""
        yield "[[repository]]"
        yield f"name = {json.dumps(place.name)}"
        yield from _repository(place)


def _repository(place: Spot) -> Iterator[str]:
    note = f"  # {place.note}" if place.note else ""
    yield f"url = {_quoted(place.url)}{note}"
    if place.elsewhere:
        yield '# encryption = "passphrase"  # who reads the store reads the database without it'
        yield '# passphrase_file = "/etc/pgkeep/secret"'
    if place.elsewhere and place.url.startswith("s3:"):
        yield '# lock = "governance"  # so that nobody can delete it: docs/immutable.md'


def _quoted(text: str) -> str:
    """Return a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04X}" for c in escaped) + '"'


def settings_text(plan: Plan, wishes: Wishes) -> str:
    """Return the statements for the server; `pgkeep init --apply` makes those about archiving."""
    if not plan.archive_timeout:
        return ""
    lines = [
        f"ALTER SYSTEM SET archive_timeout = '{plan.archive_timeout}s';",
        "  -- a quiet server hands over what it has this often",
    ]
    if wishes.major >= 17:
        lines += [
            "ALTER SYSTEM SET summarize_wal = 'on';",
            "  -- incremental backups read only what changed",
        ]
    lines += [
        "SELECT pg_reload_conf();",
        "-- archive_mode and archive_command: pgkeep init --apply, then a restart",
    ]
    if not wishes.checksums and wishes.hosting is not Hosting.MANAGED:
        lines.append(
            "-- SHOW data_checksums; if off: pg_checksums --enable, with the server stopped"
        )
    return "\n".join(lines)
