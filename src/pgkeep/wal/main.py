"""pgkeep-wal, the program that PostgreSQL runs for every WAL segment. docs/wal-archiving.md.

It starts for each segment anew, so nothing is imported that this one call doesn't need. And no
accident in it, not even a broken installation, may look to a recovering server like "this file is
not in the archive": that would be taken for the end of WAL.
"""

import gc
import os
import sys

from pgkeep.light_typing import Final, NamedTuple

USAGE: Final = """\
usage: pgkeep-wal [OPTIONS] push PATH          for archive_command, with %p
       pgkeep-wal [OPTIONS] fetch NAME DEST    for restore_command, with %f %p
  --config FILE          the config; else $PGKEEP_CONFIG, ./pgkeep.toml, /etc/pgkeep/pgkeep.toml
  --cluster NAME         which cluster; not needed when the config has only one
  --repository URL       with --cluster: work without a config
  --generation ID        of this server, like 18-7710983248089545577, where files don't tell
  --missing-status N     fetch: exit status for "not in the archive" (default 1)
push: 0 the file is safe in the repository, 1 to 124 it is not (docs/errors.md), 2 usage.
fetch: 0 the file is there, 1 it is not in the archive, 200 failed: recovery must stop.
"""
DONE, FAILED, USED_WRONGLY = 0, 1, 2
MISSING: Final = 1  # PostgreSQL reads 1 to 125 as "no such file": the end of WAL
STOP_RECOVERY: Final = 200  # above 125, and not 143, which PostgreSQL takes for a shutdown
_OPERANDS: Final = {"push": 1, "fetch": 2}


class Call(NamedTuple):
    """What the command line says."""

    command: str
    operands: tuple[str, ...]
    config: str | None = None
    cluster: str | None = None
    repository: str | None = None
    generation: str | None = None
    missing_status: int = MISSING


class Misused(Exception):
    """The command line makes no sense."""


def main(words: list[str] | None = None) -> int:
    """Carry out one command; return its exit status. Says on stderr why something failed.

    Without `words` this is the program itself: it takes those of its command line, and does not
    return, because taking the interpreter down tidily would cost 3 ms for each segment.
    """
    if words is None:
        gc.disable()  # nothing here lives long enough to be worth a collection
        os._exit(main(sys.argv[1:]))
    if "--help" in words or "-h" in words:
        sys.stdout.write(USAGE)
        sys.stdout.flush()
        return DONE
    # Whatever is not clearly a push may stand in a restore_command.
    failed = FAILED if "push" in words else STOP_RECOVERY
    try:
        return _run(parse(words))
    except Misused as error:
        _say(f"cannot understand the command line: {error}", USAGE)
        return USED_WRONGLY if failed == FAILED else failed
    except Exception as error:
        # Nothing is imported here: the installation itself may be what is broken.
        effect = "" if failed == FAILED else "; recovery stops here, so that nothing is lost"
        status = getattr(error, "exit_status", None)
        hint = getattr(error, "hint", "")
        what = str(error) if status else f"cannot go on, {type(error).__name__}: {error}"
        _say(f"{what}{effect}", f"hint: {hint}\n" if hint else "")
        return status if status and failed == FAILED else failed


def parse(words: list[str]) -> Call:
    """Read the command line. Raise Misused."""
    options: dict[str, str] = {}
    operands: list[str] = []
    known = ("config", "cluster", "repository", "generation", "missing-status")
    rest = iter(words)
    for word in rest:
        if word == "--":
            operands += rest
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if name not in known:
                raise Misused(f"there is no option {word}")
            given = value if equals else next(rest, "")
            if not given:
                raise Misused(f"--{name} needs a value")
            options[name.replace("-", "_")] = given
        else:
            operands.append(word)
    command = operands[0] if operands else ""
    if len(operands) - 1 != _OPERANDS.get(command):
        raise Misused(f"{command or 'nothing'} with {max(len(operands) - 1, 0)} file names")
    missing = options.pop("missing_status", str(MISSING))
    if not (missing.isascii() and missing.isdigit() and 1 <= int(missing) <= 125):
        raise Misused(f"--missing-status takes 1 to 125, not {missing}")
    return Call(command, tuple(operands[1:]), missing_status=int(missing), **options)


def _run(call: Call) -> int:
    from pgkeep.wal.place import open_cluster
    from pgkeep.wal.retry import patiently

    if call.command == "push":
        from pgkeep.wal.push import push

        def archive() -> None:
            cluster, level = open_cluster(call)
            push(cluster, call.operands[0], generation=call.generation, level=level)

        patiently(archive)
        return DONE
    from pgkeep.wal.fetch import fetch

    name, destination = call.operands
    missing = patiently(
        lambda: fetch(open_cluster(call).cluster, name, destination, call.generation)
    )
    if missing is None:
        return DONE
    if missing.note:
        _say(missing.note, "")
    return call.missing_status


def _say(message: str, more: str) -> None:
    try:
        sys.stderr.write(f"pgkeep-wal: {message}\n{more}")
        sys.stderr.flush()
    except (OSError, AttributeError):
        pass  # a log that cannot be written must not change the exit status
