"""Where each tablespace goes. Pure: `--tablespace OLD=NEW` and the manifest in, moves out.

PostgreSQL recreates the links below pg_tblspc from tablespace_map when it first starts, so the
moves decided here go into that file as well as into the links.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import normpath

from pgkeep.errors import PgkeepError


class BadTablespace(PgkeepError):
    """A tablespace mapping that cannot be meant."""

    code = "bad-tablespace-mapping"
    exit_status = 89

    text: str  # the mapping, or the location it concerns
    why: str
    advice: str = "write --tablespace OLD=NEW with two absolute paths, '=' in a path as '\\='"

    def __str__(self) -> str:
        return f"cannot place tablespace {self.text!r}: {self.why}; nothing was written"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(frozen=True, slots=True)
class Tablespace:
    """A tablespace of the backup, by the oid that names its link and where it was."""

    oid: int
    path: str


@dataclass(frozen=True, slots=True)
class TablespaceMove:
    """A tablespace, where it was and where the restore puts it."""

    oid: int
    old: str
    new: str
    reason: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """One `--tablespace OLD=NEW`, both sides absolute and without trailing slashes."""

    old: str
    new: str


def parse_mapping(text: str) -> Mapping:
    """Read OLD=NEW; a backslash protects '=' and itself. Raise BadTablespace."""
    sides = [""]
    letters = iter(text)
    for letter in letters:
        if letter == "\\":
            following = next(letters, "")
            sides[-1] += following if following in ("=", "\\") else letter + following
        elif letter == "=":
            sides.append("")
        else:
            sides[-1] += letter
    if len(sides) == 1:
        raise BadTablespace(text, "there is no '=' between the old and the new location")
    if len(sides) > 2:
        raise BadTablespace(text, "there is more than one '='")
    for side, name in zip(sides, ("old", "new"), strict=True):
        if not side:
            raise BadTablespace(text, f"the {name} location is empty")
        if not side.startswith("/"):
            raise BadTablespace(text, f"the {name} location {side!r} is not an absolute path")
    return Mapping(_tidy(sides[0]), _tidy(sides[1]))


def all_below(
    directory: str, tablespaces: Sequence[Tablespace], mapped: Sequence[Mapping]
) -> list[Mapping]:
    """Return mappings into one directory, by oid, for every tablespace that has none."""
    known = {mapping.old for mapping in mapped}
    places = [(_tidy(space.path), space.oid) for space in tablespaces]
    return [Mapping(old, f"{_tidy(directory)}/{oid}") for old, oid in places if old not in known]


def place_tablespaces(
    tablespaces: Sequence[Tablespace],
    mappings: Sequence[Mapping],
    *,
    target_dir: str,
    source_dir: str,
) -> tuple[TablespaceMove, ...]:
    """Decide where each tablespace goes; raise BadTablespace for what cannot be right.

    One that lay inside the source's data directory moves along with it; any other that is not
    mapped goes where it was (preflight refuses when that place is in use).
    """
    _refuse_strangers(tablespaces, mappings)
    wanted = {mapping.old: mapping.new for mapping in mappings}
    moves = tuple(_place(space, wanted, target_dir, source_dir) for space in tablespaces)
    for move in moves:
        _refuse_overlap(move, moves, target_dir, mapped=move.old in wanted)
    return moves


def _place(
    space: Tablespace, wanted: dict[str, str], target_dir: str, source_dir: str
) -> TablespaceMove:
    old = _tidy(space.path)
    if old in wanted:
        return TablespaceMove(space.oid, old, wanted[old], "mapped by --tablespace")
    if source_dir and is_within(old, source_dir):
        new = _tidy(target_dir) + old[len(_tidy(source_dir)) :]
        return TablespaceMove(space.oid, old, new, "it lay inside the data directory")
    return TablespaceMove(space.oid, old, old, "not mapped: goes where it was")


def _refuse_strangers(tablespaces: Sequence[Tablespace], mappings: Sequence[Mapping]) -> None:
    known = [_tidy(space.path) for space in tablespaces]
    seen: set[str] = set()
    for mapping in mappings:
        if mapping.old not in known:
            there = ", ".join(known) or "none at all"
            raise BadTablespace(
                mapping.old, "the backup has no tablespace there", f"its tablespaces: {there}"
            )
        if mapping.old in seen:
            raise BadTablespace(mapping.old, "it is mapped twice")
        seen.add(mapping.old)


def _refuse_overlap(
    move: TablespaceMove, moves: Sequence[TablespaceMove], target_dir: str, *, mapped: bool
) -> None:
    if mapped and (is_within(move.new, target_dir) or is_within(target_dir, move.new)):
        raise BadTablespace(
            move.new,
            f"it and the data directory {target_dir} lie one inside the other",
            "give a location of its own, outside the data directory",
        )
    for other in moves:
        if other.oid == move.oid:
            continue
        if is_within(move.new, other.new):
            raise BadTablespace(
                move.new,
                f"two tablespaces would share it: {other.old} goes to {other.new}",
                "give each tablespace a location of its own",
            )
        if mapped and move.new == other.old:
            raise BadTablespace(
                move.new,
                "it is where another tablespace of the backup was",
                "give each tablespace a new location, so that none can be taken for another",
            )


def is_within(path: str, directory: str) -> bool:
    """Tell whether `path` is `directory` or below it, judged by their text."""
    path, directory = _tidy(path), _tidy(directory)
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _tidy(path: str) -> str:
    return "/" + normpath(path).lstrip("/") if path.startswith("/") else normpath(path)
