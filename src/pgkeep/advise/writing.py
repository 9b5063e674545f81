"""The chosen plan as pgkeep.toml, and the settings that PostgreSQL needs for it. Pure."""

import json
from typing import Final

from pgkeep.advise.plan import Plan
from pgkeep.advise.wishes import DAY, Hosting, Provider, Wishes
from pgkeep.units import format_duration

_CONNINFO: Final = "host=/var/run/postgresql dbname=postgres"
_SCHEMES: Final = {Provider.AWS: "s3", Provider.GOOGLE: "gs", Provider.AZURE: "az"}


def config_text(
    plan: Plan, wishes: Wishes, *, cluster: str = "main", conninfo: str = "", url: str = ""
) -> str:
    """Return a pgkeep.toml that is valid as it stands; addresses are to be made one's own."""
    lines = [
        f"# {plan.title}. Made by pgkeep advise; every option: docs/configuration.md",
        f"# Expected: at most {format_duration(plan.rpo)} lost, back within "
        f"{format_duration(plan.rto)}.",
        "",
        *_repositories(plan, wishes, url),
        "",
        f"[clusters.{_key(cluster)}]",
        f"conninfo = {json.dumps(conninfo or _CONNINFO)}  # passwords: ~/.pgpass or a service file",
        "",
        f"[clusters.{_key(cluster)}.schedule]  # carried out by pgkeep serve",
        *(f"{kind} = {json.dumps(words)}" for kind, words in plan.schedule.items()),
        *(['jitter = "10min"'] if "every 1h" not in plan.schedule.values() else []),
        "",
        f"[clusters.{_key(cluster)}.objectives]  # pgkeep status says when they are at risk",
        f'rpo = "{max(1, round(max(wishes.rpo, plan.rpo)))}s"',
        f'rto = "{max(1, round(max(wishes.rto, plan.rto)))}s"',
        f'drill_every = "{10 if plan.schedule["drill"].startswith("weekly") else 35}d"',
        "",
        f"[clusters.{_key(cluster)}.retention]",
        *_retention(wishes),
        "",
        "# [[alerts.channels]]  # without one nobody is told: docs/alerts.md",
        '# name = "dba"',
        '# url_file = "/etc/pgkeep/dba.url"  # mailtos://user:password@example.com?to=dba@example.com',
    ]
    return "\n".join(lines) + "\n"


def _repositories(plan: Plan, wishes: Wishes, url: str) -> list[str]:
    scheme = _SCHEMES.get(wishes.provider, "s3" if wishes.provider is Provider.OTHER else "")
    first = url or ("/var/lib/pgkeep" if not scheme or plan.copies else f"{scheme}://pgkeep/main")
    if not plan.copies:
        return ["[repository]", f"url = {json.dumps(first)}"]
    lines = ["[[repository]]", 'name = "local"', f"url = {json.dumps(first)}"]
    for number in range(1, plan.copies + 1):
        name = "offsite" if number == 1 else f"offsite{number}"
        far = f"{scheme}://pgkeep-{name}/main" if scheme else f"sftp://pgkeep@{name}/srv/pgkeep"
        lines += [
            "",
            "[[repository]]",
            f"name = {json.dumps(name)}",
            f"url = {json.dumps(far)}  # make it another account, in another place",
        ]
    return lines


def _retention(wishes: Wishes) -> list[str]:
    return [
        f'window = "{_window(wishes)}"  # any second of it',
        f"daily = {wishes.daily}",
        f"weekly = {wishes.weekly}",
        f"monthly = {wishes.monthly}",
    ]


def _window(wishes: Wishes) -> str:
    hours = round(wishes.window / DAY * 24)
    return f"{hours}h" if hours % 24 else f"{hours // 24}d"


def _key(name: str) -> str:
    return json.dumps(name) if "." in name else name


def settings_text(plan: Plan, wishes: Wishes) -> str:
    """Return the statements for the server; pgkeep init --apply makes those about archiving."""
    if not plan.archive_timeout:
        return ""
    lines = [
        f"ALTER SYSTEM SET archive_timeout = '{plan.archive_timeout}s';",
        "  -- a quiet server hands over what it has at least this often",
        "ALTER SYSTEM SET wal_level = 'replica';",
        "ALTER SYSTEM SET archive_mode = 'on';",
        "  -- needs a restart; archive_command is set by: pgkeep init --apply",
    ]
    if wishes.major >= 17:
        lines += [
            "ALTER SYSTEM SET summarize_wal = 'on';",
            "  -- incremental backups read only what changed",
        ]
    if wishes.hosting is not Hosting.MANAGED:
        lines += [
            "-- data checksums on? SHOW data_checksums; if off: pg_checksums --enable, stopped"
        ]
    return "\n".join(lines)
