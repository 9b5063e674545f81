"""postgresql.conf and postgresql.auto.conf: read settings, drop some, quote values and commands.

Source: guc-file.l (the grammar, DeescapeQuotedString), recovery_gen.c, shell_archive.c,
percentrepl.c (placeholders in commands).
"""

import re
import shlex
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pgkeep.errors import PgkeepError

_SETTING: Final = re.compile(
    r"""[ \t\r\f\v]*
    (?P<name>[A-Za-z_\u0080-\U0010ffff][A-Za-z_0-9$\u0080-\U0010ffff]*
       (?:\.[A-Za-z_\u0080-\U0010ffff][A-Za-z_0-9$\u0080-\U0010ffff]*)?)
    (?:[ \t\r\f\v]*=[ \t\r\f\v]*|[ \t\r\f\v]+|(?='))
    (?:'(?P<quoted>(?:[^'\\\n]|\\.|'')*)'|(?P<plain>[^\s'\#=]+))
    [ \t\r\f\v]*(?:\#[^\n]*)?\n?""",
    re.VERBOSE,
)
_BLANK: Final = re.compile(r"[ \t\r\f\v]*(?:#[^\n]*)?\n?")
_ESCAPE: Final = re.compile(r"''|\\([0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_INCLUDES: Final = {"include", "include_if_exists", "include_dir"}
_SPOOL: Final = "pgkeep-spool-"  # in pg_wal, whose content no backup tool takes
# For recovery_end_command: segments that recovery did not ask for any more.
SPOOL_REMOVAL: Final = f"rm -rf pg_wal/{_SPOOL}*"
MISSING_STATUS: Final = 90  # what recovery_command()'s program says for a file that is not archived
_PLACEHOLDERS: Final = ("%p", "%f", "%r")

# What a source leaves behind that would steer the restored server's recovery.
RECOVERY_SETTINGS: Final = frozenset(
    {
        "archive_cleanup_command",
        "primary_conninfo",
        "primary_slot_name",
        "promote_trigger_file",
        "recovery_end_command",
        "recovery_min_apply_delay",
        "recovery_target",
        "recovery_target_action",
        "recovery_target_inclusive",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_timeline",
        "recovery_target_xid",
        "restore_command",
        "standby_mode",
        "trigger_file",
    }
)


class BadSetting(PgkeepError):
    """A value that cannot be written into PostgreSQL's configuration."""

    code = "bad-setting"
    exit_status = 54

    name: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"cannot set {self.name} to {self.value!r}: {self.why}"

    @property
    def hint(self) -> str:
        return "choose paths and names without line breaks"


class Setting(NamedTuple):
    """One line `name = value`; an include line has include, include_dir ... as its name."""

    name: str  # in lower case: PostgreSQL compares so
    value: str
    line: int  # counted from 1

    @property
    def is_include(self) -> bool:
        return self.name in _INCLUDES


class Stripped(NamedTuple):
    """A configuration file without some settings, and what was taken out."""

    text: str
    removed: tuple[Setting, ...]


class Parsed(NamedTuple):
    """What a configuration file says, in its order: later lines win."""

    settings: tuple[Setting, ...]
    unreadable: tuple[int, ...]  # lines at which the server would refuse the file

    def value(self, name: str) -> str | None:
        """Return the value that counts, or None. Included files are not looked into."""
        return self.values().get(name.lower())

    def values(self) -> dict[str, str]:
        return {s.name: s.value for s in self.settings if not s.is_include}

    def includes(self) -> tuple[Setting, ...]:
        return tuple(s for s in self.settings if s.is_include)


def parse_conf(text: str) -> Parsed:
    """Read a configuration file's text; never fails, but says which lines are unreadable."""
    settings, unreadable = [], []
    for number, line in _lines(text):
        setting = _setting(number, line)
        if setting is not None:
            settings.append(setting)
        elif not _BLANK.fullmatch(line):
            unreadable.append(number)
    return Parsed(tuple(settings), tuple(unreadable))


def strip_settings(text: str, drop: Callable[[str], bool]) -> Stripped:
    """Take out the settings whose name `drop` wants gone; all other lines stay byte for byte."""
    kept, removed = [], []
    for number, line in _lines(text):
        setting = _setting(number, line)
        if setting is not None and drop(setting.name):
            removed.append(setting)
        else:
            kept.append(line)
    return Stripped("".join(kept), tuple(removed))


def strip_recovery_settings(text: str) -> Stripped:
    """Take out everything that would steer recovery: targets, sources of WAL, the primary."""
    return strip_settings(text, RECOVERY_SETTINGS.__contains__)


def format_settings(settings: Mapping[str, str]) -> str:
    """Return lines for postgresql.auto.conf. Raise BadSetting."""
    return "".join(f"{name} = {quote_value(name, value)}\n" for name, value in settings.items())


def append_settings(text: str, settings: Mapping[str, str], comment: str = "") -> str:
    """Return `text` with settings that win over all lines before. Raise BadSetting."""
    ended = text if not text or text.endswith("\n") else text + "\n"
    return ended + (f"# {comment}\n" if comment else "") + format_settings(settings)


def quote_value(name: str, value: str) -> str:
    """Return `value` quoted for a configuration file. Raise BadSetting, naming the setting.

    Line breaks are refused although the grammar knows \\n: ALTER SYSTEM, which writes the whole
    file again, would break such a line in two.
    """
    if "\n" in value or "\r" in value or "\0" in value:
        raise BadSetting(name, value, "it contains a line break")
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def shell_command(argv: Sequence[str], placeholders: Sequence[str] = _PLACEHOLDERS) -> str:
    """Return argv as a command for archive_command or restore_command.

    Arguments that are placeholders stay, between double quotes; in all others each % is doubled
    (16 and later refuse an unknown one) and the shell sees exactly what argv says.
    """
    return " ".join(
        f'"{argument}"' if argument in placeholders else shlex.quote(argument).replace("%", "%%")
        for argument in argv
    )


def recovery_command(fetch: Sequence[str], generation: str) -> str:
    """Return a restore_command that ends recovery only where WAL really ends.

    `fetch` is pgkeep-wal with its options and the word fetch. The server takes 1 to 125 for "no
    such file", promotes, and loses what came after. But 1 is also what an interpreter says that
    cannot start, and a shell that is out of memory. So pgkeep-wal says "missing" with
    MISSING_STATUS, which nothing else produces: the shell makes 1 of it, and 200 of every other
    failure; 143 stays, which is the server's own shutdown.

    A segment that lies ready in the spool is taken without starting pgkeep-wal. The spool's name
    has a check of the whole command in it: what another archive left there is never taken.
    """
    words = [*fetch, "--generation", generation, "--missing-status", str(MISSING_STATUS)]
    spool = f"{_SPOOL}{generation}-{zlib.crc32(repr(words).encode()):08x}"
    command = shell_command([*words, "--spool", spool, "%f", "%p"])
    statuses = f"0|143) exit $s;; {MISSING_STATUS}) exit 1;; *) exit 200;;"
    ready = f'mv -f pg_wal/{spool}/"%f" "%p" 2>/dev/null && exit 0'
    return f"{ready}; {command}; s=$?; case $s in {statuses} esac"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Split at line feeds only, as the server does, keeping them."""
    yield from enumerate(re.findall(r"[^\n]*\n|[^\n]+", text), start=1)


def _setting(number: int, line: str) -> Setting | None:
    match = _SETTING.fullmatch(line)
    if match is None:
        return None
    quoted = match["quoted"]
    value = match["plain"] if quoted is None else _ESCAPE.sub(_unescape, quoted)
    return Setting(match["name"].lower(), value, number)


def _unescape(match: re.Match[str]) -> str:
    escaped = match[1]
    if escaped is None:
        return "'"
    if escaped[0] in "01234567":
        return chr(int(escaped, 8) & 0xFF)
    return _LETTERS.get(escaped, escaped)
