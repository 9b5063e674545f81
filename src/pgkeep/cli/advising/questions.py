"""Asks one question at a time, says why, and takes Enter for what is usual."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import typer

from pgkeep.advise.wishes import Hosting, Provider
from pgkeep.errors import PgkeepError
from pgkeep.units import parse_duration, parse_rate, parse_size

_DAY: Final = 86400


class Question(NamedTuple):
    """One thing to know."""

    name: str  # of the option, with underscores
    asks: str
    why: str
    default: str
    read: Callable[[str], Any]


def hosting(text: str) -> Hosting:
    return Hosting(_one_of(Hosting, text))


def provider(text: str) -> Provider:
    return Provider(_one_of(Provider, text))


def yes(text: str) -> bool:
    """Raise ValueError for what is neither yes nor no."""
    if text.strip().lower() not in ("y", "yes", "n", "no"):
        raise ValueError("yes or no")
    return text.strip().lower().startswith("y")


def money(text: str) -> float | None:
    """Raise ValueError for what is no amount."""
    if text.strip().lower() in ("", "none", "-"):
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number, or none") from None


def wal_a_day(text: str) -> int:
    """Read WAL a day: '10GB', or by its rate: '2MB/s'. Raise BadUnit."""
    if text.strip().lower().endswith("/s"):
        return parse_rate(text) * _DAY
    return parse_size(text.lower().strip().removesuffix("/d").removesuffix("/day"))


def _one_of(kind: type[StrEnum], text: str) -> str:
    if text.strip().lower() not in list(kind):
        raise ValueError(f"one of {', '.join(kind)}")
    return text.strip().lower()


QUESTIONS: Final = (
    Question(
        "hosting", "Where does the server run: self, cloud-vm, kubernetes, managed?",
        "A managed service (RDS, Cloud SQL, Azure) lets nobody at its files and WAL.",
        "self", hosting,
    ),
    Question(
        "provider", "Whose cloud: aws, google, azure, other, none?",
        "For the object store and its prices; none: your own disks and hosts.", "none", provider,
    ),
    Question(
        "size", "How large is the cluster?",
        "All databases together; --inspect measures it.", "100GB", parse_size,
    ),
    Question(
        "wal_rate", "How much WAL does it write a day?",
        "All that changes, and whole pages after checkpoints; --inspect measures it.",
        "10GB", wal_a_day,
    ),
    Question(
        "rpo", "How much may be lost when the server dies: the last ...?",
        "Less means WAL handed over more often: archive_timeout.", "5min", parse_duration,
    ),
    Question(
        "rto", "How soon must it be back?",
        "Restores copy all files, then replay the WAL since the last backup.", "4h", parse_duration,
    ),
    Question(
        "retention", "Back to any second of the last ...?",
        "Mistakes are often noticed after days. 0d: no single moments, only backups.",
        "14d", parse_duration,
    ),
    Question(
        "table_level", "Single tables, or into another version: dumps too?",
        "Backups of files bring back the whole cluster of one version.", "yes", yes,
    ),
    Question(
        "offsite", "A copy in another place?",
        "A backup beside the database burns with it.", "yes", yes,
    ),
    Question(
        "budget", "A budget a month? (a number, or none)",
        "In the currency of the prices, for what is stored in buckets.", "none", money,
    ),
)  # fmt: skip


def ask(known: Mapping[str, Any]) -> dict[str, Any]:
    """Ask all that is not known; return the answers by name."""
    answers: dict[str, Any] = {}
    for question in QUESTIONS:
        if known.get(question.name) is None:
            answers[question.name] = _answer(question)
    return answers


def _answer(question: Question) -> Any:
    typer.echo(f"\n{question.why}", err=True)
    while True:
        given = typer.prompt(question.asks, default=question.default, err=True)
        try:
            return question.read(str(given))
        except ValueError as error:
            typer.echo(f"  that is not {error}", err=True)
        except PgkeepError as error:
            typer.echo(f"  {error}: {error.hint}", err=True)
