"""pgkeep-wal, the program that PostgreSQL runs for every WAL segment. docs/wal-archiving.md.

It starts for each segment anew, so nothing is imported that this one call doesn't need. And no
accident in it, not even a broken installation, may look to a recovering server like "this file is
not in the archive": that would be taken for the end of WAL.
"""

import gc
import os
import sys

from pgkeep.light_typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pgkeep.wal.ahead.spool import Spool

USAGE: Final = """\
usage: pgkeep-wal [OPTIONS] push PATH          for archive_command, with %p
       pgkeep-wal [OPTIONS] fetch NAME DEST    for restore_command, with %f %p
  --config FILE          the config; else $PGKEEP_CONFIG, ./pgkeep.toml, /etc/pgkeep/pgkeep.toml
  --cluster NAME         which cluster; not needed when the config has only one
  --repository URL       with --cluster: work without a config
  --generation ID        of this server, like 18-7710983248089545577, where files don't tell
  --acks FOLDER/$PPID    push: have files pushed ahead, and acknowledged in this folder of pg_wal
  --spool FOLDER         fetch: keep the segments that follow ready in this folder of pg_wal
  --missing-status N     fetch: exit status for "not in the archive" (default 1)
push: 0 the file is safe in the repository, 1 to 124 it is not (docs/errors.md), 2 usage.
fetch: 0 the file is there, 1 it is not in the archive, 200 failed: recovery must stop.
"""
DONE, FAILED, USED_WRONGLY = 0, 1, 2
MISSING: Final = 1  # PostgreSQL reads 1 to 125 as "no such file": the end of WAL
STOP_RECOVERY: Final = 200  # above 125, and not 143, which PostgreSQL takes for a shutdown
# The last two are what the first two start beside themselves.
_OPERANDS: Final = {"push": 1, "fetch": 2, "push-ahead": 1, "fetch-ahead": 3}


class Call(NamedTuple):
    """What the command line says."""

    command: str
    operands: tuple[str, ...]
    config: str | None = None
    cluster: str | None = None
    repository: str | None = None
    generation: str | None = None
    missing_status: int = MISSING
    spool: str = ""
    acks: str = ""
    lock: int = -1  # a file of ours that is open already


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
        # PostgreSQL takes more than 125 for a broken command and ends its archiver.
        return status if status and status < 125 and failed == FAILED else failed


def parse(words: list[str]) -> Call:
    """Read the command line. Raise Misused."""
    options: dict[str, str] = {}
    operands: list[str] = []
    known = (
        *("config", "cluster", "repository", "generation", "missing-status"),
        *("spool", "acks", "lock"),
    )
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
    if "spool" in options and not _is_folder(options["spool"]):
        raise Misused(f"--spool takes the name of a folder in pg_wal, not {options['spool']}")
    folder, _, asker = options.get("acks", "acks/1").partition("/")
    if not (_is_folder(folder) and asker.isascii() and asker.isdigit()):
        raise Misused(f"--acks takes a folder in pg_wal and a process, not {options['acks']}")
    lock = options.pop("lock", "-1")
    if command.endswith("-ahead") != lock.isdigit():
        raise Misused("--lock is for what pgkeep-wal starts by itself")
    return Call(
        command, tuple(operands[1:]), missing_status=int(missing), lock=int(lock), **options
    )


def _is_folder(name: str) -> bool:
    return "/" not in name and name not in ("", ".", "..")


def _run(call: Call) -> int:
    if call.command == "push":
        return _push_ahead(call) if call.acks else _push(call)
    if call.command == "fetch":
        return _fetch(call)
    from pgkeep.wal.ahead import detach

    detach.settle(call.lock)
    if call.command == "push-ahead":
        from pgkeep.wal.ahead.process import push_ahead

        push_ahead(call)
    else:
        from pgkeep.wal.ahead.prefetch import fetch_ahead

        fetch_ahead(call)
    return DONE


def _push_ahead(call: Call) -> int:
    """Leave the file to the pusher, or push it here where there is none."""
    from pgkeep.wal.ahead import detach
    from pgkeep.wal.ahead.acks import Acks
    from pgkeep.wal.ahead.asking import ask

    folder, name = os.path.split(call.operands[0])
    if detach.adopted_by_postgresql():
        return _push(call)
    acks = Acks(folder or ".", call.acks)
    words = [*detach.origin(call), f"--acks={call.acks}", "push-ahead", "--", acks.pg_wal]
    answer = ask(acks, name, lambda lock: detach.start(words, lock))
    for line in acks.said():
        _say(line, "")
    if answer is True:
        return DONE
    if answer is False:
        return _push(call)
    _say(answer.message, f"hint: {answer.hint}\n" if answer.hint else "")
    return answer.status


def _push(call: Call) -> int:
    from pgkeep.wal.place import Opened, to_write
    from pgkeep.wal.push import push
    from pgkeep.wal.retry import patiently
    from pgkeep.wal.several import push_to

    def archive(place: Opened) -> object:
        cluster, level, rights = place
        return push(
            cluster, call.operands[0], generation=call.generation, level=level, rights=rights
        )

    candidates = to_write(call)
    patiently(lambda: push_to(candidates, archive, lambda text: _say(text, "")))
    return DONE


def _fetch(call: Call) -> int:
    name, destination = call.operands
    spool = _spool(call)
    if spool is not None and spool.take(name, destination):
        return DONE
    from pgkeep.wal.fetch import Fetched, Missing, fetch
    from pgkeep.wal.place import Opened, to_read
    from pgkeep.wal.retry import patiently
    from pgkeep.wal.several import fetch_from

    def bring(place: Opened) -> Fetched | Missing:
        return fetch(place.cluster, name, destination, call.generation)

    candidates = to_read(call)
    found = patiently(lambda: fetch_from(candidates, bring, lambda text: _say(text, "")))
    if isinstance(found, Missing):
        if found.note:
            _say(found.note, "")
        return call.missing_status
    if spool is not None:
        from pgkeep.wal.ahead.prefetch import prefetch

        prefetch(call, found.archive.generation_id, spool, os.stat(destination).st_size)
    return DONE


def _spool(call: Call) -> "Spool | None":
    name, destination = call.operands
    # Only where the server itself asks, as it always does: nobody else comes back for what follows,
    # and pg_rewind fails if files appear in the directory that it works on.
    if not call.spool or len(name) != 24 or os.path.dirname(destination) != "pg_wal":
        return None
    from pgkeep.wal.ahead.spool import Spool

    return Spool(destination, call.spool)


def _say(message: str, more: str) -> None:
    try:
        sys.stderr.write(f"pgkeep-wal: {message}\n{more}")
        sys.stderr.flush()
    except (OSError, AttributeError):
        pass  # a log that cannot be written must not change the exit status


if __name__ == "__main__":  # as detach.start() runs it
    main()
