"""Which commands the service runs, and which of them may run beside which. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pgkeep.service.errors import ServiceFailed
from pgkeep.service.jobs.job import Job


class NotAJob(ServiceFailed):
    """A command that the service does not run for anybody."""

    code = "not-a-job"


class Kind(NamedTuple):
    """A kind of job: the first words of its command, and what it must have for itself."""

    name: str
    words: tuple[str, ...]
    holds: str = ""  # no two jobs of one cluster hold the same; ALL: nothing runs beside it


ALL: Final = "*"
KINDS: Final = (
    Kind("backup", ("backup",), "server"),
    # Beside a backup it would halve the speed of both, and load the server twice.
    Kind("dump", ("dump", "create"), "server"),
    Kind("dump-restore", ("dump", "restore")),
    Kind("dump-export", ("dump", "export")),
    Kind("drill", ("drill",), "drill"),
    Kind("verify", ("verify",), "verify"),
    Kind("expire", ("expire",), ALL),  # it refuses beside whatever works in the cluster's folder
    Kind("delete", ("delete",), ALL),
    Kind("copy", ("copy",), "copy"),
    Kind("census", ("census", "take"), "census"),
    Kind("check", ("check",)),
    Kind("checklist", ("checklist",)),
    Kind("point", ("point",)),
    Kind("pin", ("pin",)),
    Kind("restore", ("restore",)),
    Kind("undo-find", ("undo", "find")),
    Kind("undo-table", ("undo", "table"), "undo"),
    Kind("undo-rows", ("undo", "rows"), "undo"),
    Kind("undo-database", ("undo", "database"), "undo"),
    Kind("undo-sandbox", ("undo", "sandbox")),
    Kind("alert-test", ("alert", "test")),
)
_UNDOES: Final = frozenset({"undo-table", "undo-rows", "undo-database", "undo-sandbox"})
# Said by the service itself, for every job.
_ITS_OWN: Final = ("--config", "--cluster", "--json", "--verbose", "-v", "--quiet", "-q")


def kind_of(words: Sequence[str]) -> Kind:
    """Return what kind of job a command is. Raise NotAJob."""
    for kind in KINDS:
        if tuple(words[: len(kind.words)]) == kind.words:
            break
    else:
        asked = " ".join(words[:2]) or "nothing"
        known = ", ".join(" ".join(kind.words) for kind in KINDS)
        raise NotAJob(f"run {asked}", "it is no command that the service runs", f"it runs {known}")
    for word in words:
        name = word.partition("=")[0]
        if name in _ITS_OWN or "\0" in word:
            why = f"{name!r} is for the service to say"
            raise NotAJob(f"run {kind.name}", why, "leave it out")
    return kind


def shows_rows(job: Job) -> bool:
    """Tell whether a job's report, log and error may hold rows: for whoever may bring rows back."""
    # A dump's restore tells which row the server refused; its preview reads none.
    loads = job.kind == "dump-restore" and "--dry-run" not in job.words
    return loads or job.kind in _UNDOES


def in_the_way(job: Job, running: Iterable[Job]) -> Job | None:
    """Return the running job of the same cluster that `job` must wait for, or None."""
    wanted = kind_of(job.words).holds
    for other in running:
        held = kind_of(other.words).holds
        if other.cluster == job.cluster and (
            ALL in (wanted, held) or (wanted == held and wanted != "")
        ):
            return other
    return None
