"""Times, ages and sizes as the page says them. Pure."""

from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pgkeep.units import format_duration, format_size

NOTHING = "–"  # noqa: RUF001 - a dash stands for "none" in tables
_HALF_A_YEAR = timedelta(days=182)  # from when on a date without its year could be another


def zone_of(cookie: str) -> tzinfo:
    """Return the viewer's zone as the browser names it in a cookie; UTC where it is none."""
    try:
        return ZoneInfo(unquote(cookie)[:64]) if cookie else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def short(moment: datetime | None, zone: tzinfo, now: datetime) -> str:
    """'28 Nov 14:02:31': for tables; what stands beside or in its title has the year and UTC.

    What is long ago or far ahead has its year in place of the seconds: '28 Nov 2025 14:02'.
    """
    if moment is None:
        return NOTHING
    here = moment.astimezone(zone)
    form = "%b %H:%M:%S" if abs(moment - now) < _HALF_A_YEAR else "%b %Y %H:%M"
    return f"{here.day} {here.strftime(form)}"


def long(moment: datetime | None, zone: tzinfo) -> str:
    """'28 Nov 2026 14:02:31 CET (13:02:31 UTC)'; the date of UTC only where it is another."""
    if moment is None:
        return NOTHING
    here, utc = moment.astimezone(zone), moment.astimezone(UTC)
    text = f"{here.day} {here:%b %Y %H:%M:%S} {name_of(here)}"
    if here.utcoffset() == utc.utcoffset():
        return f"{utc.day} {utc:%b %Y %H:%M:%S} UTC"
    day = "" if here.date() == utc.date() else f"{utc.day} {utc:%b} "
    return f"{text} ({day}{utc:%H:%M:%S} UTC)"


def name_of(here: datetime) -> str:
    """Return how a zone is called at a moment: 'CET', or 'UTC+05:45' where it has no letters."""
    name = here.tzname() or ""
    if name.isalpha():
        return name
    offset = here.strftime("%z")
    return f"UTC{offset[:3]}:{offset[3:5]}"


def ago(moment: datetime, now: datetime) -> str:
    """'38 s ago', 'in 3 h'."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{format_duration(seconds)} ago" if seconds > 0 else f"in {format_duration(-seconds)}"


def took(seconds: float | None) -> str:
    """Return how long something takes, or a dash."""
    return NOTHING if seconds is None else format_duration(seconds)


def size(count: int | None) -> str:
    """Return bytes in words, or a dash."""
    return NOTHING if count is None else format_size(count)


def capital(text: str) -> str:
    """Return a sentence with its first letter large."""
    return f"{text[:1].upper()}{text[1:]}"


def is_command(text: str) -> bool:
    """Tell whether what is to be done can be typed as it stands, or is a sentence for people."""
    return text.startswith("pgkeep ") and not any(sign in text for sign in (", ", "; ", ": "))


def for_cluster(command: str, cluster: str) -> str:
    """Return a command with the cluster that it is about, where the config has several."""
    if not cluster or "--cluster" in command.split():
        return command
    return command.replace("pgkeep ", f"pgkeep --cluster {cluster} ", 1)


def target_time(moment: datetime) -> str:
    """Return a moment as `--to` takes it, to the microsecond, in UTC."""
    return moment.astimezone(UTC).isoformat(sep=" ")
