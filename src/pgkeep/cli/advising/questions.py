"""Asks one question at a time, with an answer that Enter accepts."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import typer

from pgkeep.advise.wishes import Hosting, Provider
from pgkeep.errors import PgkeepError
from pgkeep.units import parse_duration, parse_size


class Question(NamedTuple):
    """One thing to know."""

    name: str  # of the option, with underscores
    asks: str
    default: str
    read: Callable[[str], Any]


def yes(text: str) -> bool:
    """Raise ValueError for what is neither yes nor no."""
    short = text.strip().lower()[:1]
    if short not in ("y", "n"):
        raise ValueError("yes or no?")
    return short == "y"


def money(text: str) -> float | None:
    return None if text.strip().lower() in ("", "none", "-") else float(text)


QUESTIONS: Final = (
    Question("hosting", "Where does it run: self, cloud-vm, kubernetes, managed?", "self", Hosting),
    Question("provider", "Whose cloud: aws, google, azure, other, none?", "none", Provider),
    Question("size", "How large is the cluster?", "100GB", parse_size),
    Question("wal_rate", "How much WAL a day? (about what is written)", "10GB", parse_size),
    Question("rpo", "How much may be lost: the last ...?", "5min", parse_duration),
    Question("rto", "How soon must it be back?", "4h", parse_duration),
    Question("retention", "Back to any second of the last ...?", "14d", parse_duration),
    Question("table_level", "Single tables, or into another version?", "yes", yes),
    Question("offsite", "A copy in another place?", "yes", yes),
    Question("budget", "A budget a month? (a number, or none)", "none", money),
)


def ask(known: Mapping[str, Any]) -> dict[str, Any]:
    """Ask all that is not known; return the answers by name."""
    answers: dict[str, Any] = {}
    for question in QUESTIONS:
        if known.get(question.name) is None:
            answers[question.name] = _answer(question)
    return answers


def _answer(question: Question) -> Any:
    while True:
        given = typer.prompt(question.asks, default=question.default, err=True)
        try:
            return question.read(str(given))
        except (ValueError, PgkeepError) as error:
            typer.echo(f"  {error}", err=True)
