"""Find and read pgkeep.toml, and the secret it points to. docs/configuration.md lists the options.

The only reader of the environment. PostgreSQL starts a process for every WAL segment, which reads
the config first: so this module imports almost nothing, and what the values mean is left to others.
"""

import os
from collections.abc import Mapping

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import Final

CONFIG_VARIABLE: Final = "PGKEEP_CONFIG"
SECRET_VARIABLE: Final = "PGKEEP_PASSPHRASE"  # noqa: S105 - the variable's name, not its content
PROGRESS_VARIABLE: Final = "PGKEEP_PROGRESS"  # 'json': a program reads our stderr
PARENT_VARIABLE: Final = "PGKEEP_ENDS_WITH"  # the process whose end is ours
PLACES: Final = ("pgkeep.toml", "/etc/pgkeep/pgkeep.toml")
SECRET_LIMIT: Final = 4096  # bytes; a passphrase is a line, a key printed for people is shorter
_FAR: Final = ("s3:", "gs:", "az:", "sftp:")  # stores whose addresses take options
# Declared in repository/store/access.py, which takes too long to import.
_STORE_FILES: Final = ("credentials_file", "ca_file", "identity_file", "known_hosts")
_STORE_OPTIONS: Final = (
    *_STORE_FILES,
    *("endpoint", "region", "path_style", "profile", "account", "storage_class"),
    *("server_side_encryption", "kms_key", "proxy", "part_size", "connect_timeout"),
    *("timeout", "retry_for"),
)
COMMAND_SECONDS: Final = 30.0  # time for a passphrase_command: asking a vault takes a few

Table = dict[str, object]


class ConfigMissing(PgkeepError):
    """No config file where pgkeep looks for one."""

    code = "config-missing"
    exit_status = 17

    looked: tuple[str, ...]

    def __str__(self) -> str:
        return f"cannot find the config: there is no {' and no '.join(self.looked)}"

    @property
    def hint(self) -> str:
        return f"write one with: pgkeep init; or name yours with --config or ${CONFIG_VARIABLE}"


class ConfigUnreadable(PgkeepError):
    """A config file that exists but cannot be read."""

    code = "config-unreadable"
    exit_status = 18

    path: str
    user: str
    why: str

    def __str__(self) -> str:
        return f"cannot read {self.path} as user {self.user}: {self.why}"

    @property
    def hint(self) -> str:
        return "WAL is archived by the server's user: let it read this file (chgrp, chmod 640)"


class ConfigSyntax(PgkeepError):
    """A config file that is not TOML."""

    code = "config-syntax"
    exit_status = 19

    path: str
    why: str  # with the line, where TOML's reader tells it

    def __str__(self) -> str:
        return f"cannot understand {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        return 'text values stand in double quotes, like url = "/var/lib/pgkeep"'


class ConfigValue(PgkeepError):
    """A value in the config that no command could work with."""

    code = "config-value"
    exit_status = 98

    path: str
    key: str
    why: str

    def __str__(self) -> str:
        return f"cannot use {self.key} of {self.path}: {self.why}"


class ClusterNotChosen(PgkeepError):
    """It is not said which cluster is meant, or one is meant that the config doesn't have."""

    code = "cluster-not-chosen"
    exit_status = 99

    path: str
    wanted: str  # empty when none was named
    known: tuple[str, ...]

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        if self.wanted:
            return f"cannot find cluster {self.wanted!r}: {self.path} has {known}"
        return f"cannot tell which cluster is meant: {self.path} has {known}"

    @property
    def hint(self) -> str:
        if not self.known:
            return "add a table [clusters.NAME] with its conninfo, or run: pgkeep init"
        return f"say which: --cluster {self.known[0]}"


class SecretUnreadable(PgkeepError):
    """The repository's passphrase could not be obtained from where the config says it is."""

    code = "secret-unreadable"
    exit_status = 100

    source: (
        str  # '$PGKEEP_PASSPHRASE', 'passphrase_file /x', 'passphrase_command'; never the secret
    )
    why: str
    advice: str = ""

    def __str__(self) -> str:
        return f"cannot read the passphrase from {self.source}: {self.why}"

    @property
    def hint(self) -> str:
        return self.advice or "run it by hand as the user that runs pgkeep, then try again"


def load(path: str | None = None) -> tuple[str, Table]:
    """Return the config's absolute path and its tables, unchecked.

    A path given, or else $PGKEEP_CONFIG, must exist; otherwise the first one of PLACES that does
    is taken. Raise ConfigMissing, ConfigUnreadable or ConfigSyntax.
    """
    named = path or os.environ.get(CONFIG_VARIABLE)
    places = (named,) if named else PLACES
    for place in places:
        content = _read(place)
        if content is not None:
            found = os.path.abspath(place)
            return found, parse(content, found)
    raise ConfigMissing(tuple(os.path.abspath(place) for place in places))


def parse(content: bytes, path: str) -> Table:
    """Read TOML. Raise ConfigSyntax with the line."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigSyntax(path, f"line {line} is not UTF-8") from error
    simple = parse_simple(text)
    if simple is not None:
        return simple
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigSyntax(path, str(error)) from error


def repository_tables(path: str, config: Mapping[str, object]) -> list[Table]:
    """Return [repository], or every [[repository]] in order.

    Raise ConfigValue unless there is one, and each is a table with an url and, if there are
    several, a name of its own.
    """
    found = config.get("repository")
    tables: list[Table] = []
    names = set()
    for table in found if isinstance(found, list) else [found]:
        if not isinstance(table, dict):
            raise ConfigValue(path, "repository", "there is no table [repository]")
        if not isinstance(table.get("url"), str) or not table["url"]:
            raise ConfigValue(path, "repository.url", "it must be an address, like /var/lib/pgkeep")
        tables.append(table)
        names.add(repository_name(table))
    if not tables or (len(tables) > 1 and ("" in names or len(names) < len(tables))):
        raise ConfigValue(path, "repository.name", "each [[repository]] needs a name of its own")
    return tables


def repository_name(table: Mapping[str, object]) -> str:
    """Return what a repository is called; '' for an only one without a name."""
    return str(table.get("name", ""))


def writing(path: str, config: Mapping[str, object]) -> tuple[list[Table], bool]:
    """Return the repositories to write to, and whether all of them must get what is written.

    Otherwise the first that works will do. Raise ConfigValue.
    """
    tables = repository_tables(path, config)
    wanted = config.get("write")
    if not wanted:
        return tables, False
    named = {repository_name(table): table for table in tables}
    if not isinstance(wanted, list) or not all(n and n in named for n in map(str, wanted)):
        raise ConfigValue(path, "write", f"it must list names of repositories: {', '.join(named)}")
    return [named[str(name)] for name in wanted], True


def repository_url(path: str, table: Mapping[str, object]) -> str:
    """Return the address of a repository's table; a relative one starts at the config's folder."""
    url = str(table["url"])
    given = [name for name in _STORE_OPTIONS if table.get(name, "") != ""]
    if url.startswith(_FAR):
        return _with_options(path, url, {name: table[name] for name in given}) if given else url
    if given:
        why = f"the repository is a directory, {url}"
        raise ConfigValue(path, f"repository.{given[0]}", why)
    is_address = "://" in url or url.startswith(("file:", "memory:"))
    return url if is_address else beside(path, url)


def _with_options(path: str, url: str, given: Table) -> str:
    """Put into an address what the config says of how to get there."""
    from urllib.parse import quote, urlencode

    options = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
    }
    for name in _STORE_FILES:
        if name in options:
            options[name] = beside(path, options[name])
    query = urlencode(options, safe="/:", quote_via=quote)
    return f"{url}{'&' if '?' in url else '?'}{query}"


def beside(path: str, name: str) -> str:
    """Return `name` as seen from the config's folder; '~' is the user's home."""
    return os.path.join(os.path.dirname(path), os.path.expanduser(name))


def choose_cluster(path: str, config: Mapping[str, object], wanted: str | None) -> str:
    """Return the cluster named, or the only one there is. Raise ClusterNotChosen."""
    table = config.get("clusters")
    known = tuple(map(str, table)) if isinstance(table, dict) else ()
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None or wanted not in known:
        raise ClusterNotChosen(path, wanted or "", known)
    return wanted


def cluster_table(path: str, config: Mapping[str, object], wanted: str | None) -> Table:
    """Return [clusters.NAME] of the cluster named, or of the only one. Raise ClusterNotChosen."""
    name = choose_cluster(path, config, wanted)
    tables = config["clusters"]
    table = tables.get(name) if isinstance(tables, dict) else None
    if not isinstance(table, dict):
        raise ConfigValue(path, f"clusters.{name}", f"write [clusters.{name}] on a line of its own")
    return table


def read_secret(
    path: str, repository: Mapping[str, object], seconds: float = COMMAND_SECONDS
) -> str | None:
    """Return the passphrase or recovery key, or None where the config names no source for one.

    $PGKEEP_PASSPHRASE comes first, $PGKEEP_PASSPHRASE_NAME for a repository with that name (in
    capitals, '_' for what is neither letter nor digit), then passphrase_file, then
    passphrase_command (a shell command, at most `seconds` long). One rule for all: UTF-8, one line,
    its line end cut off.
    """
    given = secret_from_environment(repository_name(repository))
    if given is not None:
        return given
    file, command = repository.get("passphrase_file"), repository.get("passphrase_command")
    if file and command:
        why = "passphrase_file and passphrase_command are both set; keep one"
        raise ConfigValue(path, "repository", why)
    if isinstance(file, str) and file:
        return _secret_of_file(beside(path, file))
    if isinstance(command, str) and command:
        return _secret_of_command(command, seconds)
    return None


def secret_from_environment(name: str = "") -> str | None:
    """Return the passphrase for the repository of this name, or None when it is not set.

    One that has a name reads a variable of its own first. An empty value is an error.
    """
    own = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper())
    for variable in ([f"{SECRET_VARIABLE}_{own}"] if own else []) + [SECRET_VARIABLE]:
        given = os.environb.get(variable.encode())
        if given is not None:
            return _one_line(given, f"${variable}")
    return None


def secret_from_file(file: str) -> str:
    """Return the one line of a file that nobody else may read. Raise SecretUnreadable."""
    return _secret_of_file(os.path.abspath(file))


def environment() -> dict[str, str]:
    """Return a copy of the environment, for programs that connect to a server as we do."""
    return dict(os.environ)


def state_directory(configured: str = "") -> str:
    """Return where the service keeps what is its own: [service] state_directory, or as it says."""
    if configured:
        return os.path.abspath(os.path.expanduser(configured))
    # systemd may name several, with colons between: systemd.exec(5), StateDirectory=
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return given or os.path.join(base, "pgkeep")


def progress_for_programs() -> bool:
    """Tell whether whoever started us reads progress as JSON lines."""
    return os.environ.get(PROGRESS_VARIABLE) == "json"


def ends_with() -> int | None:
    """Return the process whose end is to be ours, and forget it: it is not our children's."""
    given = os.environ.pop(PARENT_VARIABLE, "")
    return int(given) if given.isdecimal() else None


def colours_unwanted() -> bool:
    """Tell whether the environment asks for plain text (no-color.org, TERM=dumb)."""
    return os.environ.get("TERM") == "dumb" or "NO_COLOR" in os.environ


def _read(place: str) -> bytes | None:
    try:
        with open(place, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigUnreadable(place, _user(), error.strerror or str(error)) from error


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # containers run under ids that no name belongs to
        return str(os.geteuid())


def _one_line(content: bytes, source: str) -> str:
    advice = "it must be one line of UTF-8 text, like a passphrase typed by hand"
    if len(content) > SECRET_LIMIT:
        raise SecretUnreadable(source, f"it is longer than {SECRET_LIMIT} bytes", advice)
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SecretUnreadable(source, "it is not UTF-8 text", advice) from error
    if not text:
        raise SecretUnreadable(source, "it is empty", advice)
    if "\n" in text or "\r" in text or "\0" in text:
        raise SecretUnreadable(source, "it has more than one line", advice)
    return text


def _secret_of_file(file: str) -> str:
    source = f"passphrase_file {file}"
    try:
        # Permissions are those of the opened file, so that nobody can swap it in between.
        with open(file, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode & 0o777
            content = opened.read(SECRET_LIMIT + 1)
    except OSError as error:
        why = f"{error.strerror} (as user {_user()})"
        raise SecretUnreadable(source, why, "WAL is archived by the server's user") from error
    if mode & 0o077:
        why = f"other users can read it too (mode {mode:04o})"
        raise SecretUnreadable(source, why, f"chmod 600 {file}")
    return _one_line(content, source)


def _secret_of_command(command: str, seconds: float) -> str:
    import signal
    import subprocess
    from contextlib import suppress

    source = "passphrase_command"
    # A session of its own, so that a command that hangs is ended with all that it started.
    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, warnings = process.communicate(timeout=seconds)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            why = f"it gave no answer within {seconds:g} seconds"
            raise SecretUnreadable(source, why) from error
    if process.returncode != 0:
        last = warnings.decode(errors="replace").strip().rpartition("\n")[2][:200]
        why = f"it ended with status {process.returncode}" + (f": {last}" if last else "")
        raise SecretUnreadable(source, why)
    return _one_line(output, source)


def parse_simple(text: str) -> Table | None:
    """Read the plain TOML that most configs are; None where tomllib must have a look.

    tomllib takes 8 ms to import, a fifth of what a WAL command may cost. This reads comments,
    [tables.of.bare.names], [[several]] and `key = "text" | ["text", ...] | number | true | false`,
    and answers only if it understood every line; a property test holds it to tomllib's answer.
    """
    root: Table = {}
    table, headers = root, {""}
    for raw in text.split("\n"):
        line = raw.strip(" \t")
        if not line.replace("\t", " ").isprintable():
            return None
        if not line or line[0] == "#":
            continue
        if line[:2] == "[[":
            name = line[2:-2]
            several = root.setdefault(name, []) if _is_bare(name) and line[-2:] == "]]" else None
            if not isinstance(several, list) or (not several and name in headers):
                return None
            headers = {h for h in headers if not h.startswith(f"{name}.")} | {name}
            table = {}
            several.append(table)
        elif line[0] == "[":
            name = line[1:-1]
            found = _simple_table(root, name) if line[-1] == "]" and name not in headers else None
            if found is None:
                return None
            headers.add(name)
            table = found
        else:
            key, equals, rest = line.partition("=")
            key, value = key.rstrip(" \t"), _simple_value(rest.lstrip(" \t"))
            if not equals or not _is_bare(key) or value is None or key in table:
                return None
            table[key] = value
    return root


def _simple_table(root: Table, name: str) -> Table | None:
    table = root
    for part in name.split("."):
        inner = table.setdefault(part, {}) if _is_bare(part) else None
        if isinstance(inner, list) and part != name and inner and isinstance(inner[-1], dict):
            inner = inner[-1]  # a section of the last [[one]]
        if not isinstance(inner, dict):
            return None
        table = inner
    return table


def _simple_value(text: str) -> str | int | bool | list[object] | None:
    if text[:1] == "[":
        inside, end, rest = text[1:].partition("]")
        texts: list[object] = [_simple_value(part.strip(" \t")) for part in inside.split(",")]
        simple = end and rest.lstrip(" \t")[:1] in ("", "#") and "#" not in inside
        return texts if simple and all(isinstance(part, str) for part in texts) else None
    if text[:1] == '"':
        value, quote, rest = text[1:].partition('"')
        rest = rest.lstrip(" \t")
        simple = quote and "\\" not in value and rest[:1] in ("", "#") and text[:3] != '"""'
        return value if simple else None
    word = text.partition("#")[0].rstrip(" \t")
    if word in ("true", "false"):
        return word == "true"
    if word.isascii() and word.isdigit() and (word[0] != "0" or word == "0"):
        return int(word)
    return None


def _is_bare(key: str) -> bool:
    return key.isascii() and key.replace("-", "").replace("_", "").isalnum()
