"""Dumps split by schemas, and tables of contents joined, for any databases."""

import io
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pgkeep.logical.create.plan import plan_runs, run_selection
from pgkeep.logical.patterns import chosen
from pgkeep.model.dump import Selection
from pgkeep.postgres.archive.merge import merge_tocs
from pgkeep.postgres.archive.toc import Algorithm, Format, TocEntry, TocHeader, read_toc, write_toc

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
HEADER = TocHeader((1, 14, 0), 4, 8, Format.TAR, Algorithm.NONE, 0, (0,) * 7, "shop", "15", "15")


@given(st.dictionaries(NAMES, st.integers(1, 50), max_size=12), st.integers(1, 60))
def test_every_schema_is_dumped_exactly_once_and_no_run_is_too_large(
    schemas: dict[str, int], room: int
) -> None:
    runs = plan_runs(schemas, room)
    taken = [chosen(run_selection(Selection(), run)) for run in runs]
    for schema in schemas:
        assert sum(one.has(schema, "t") for one in taken) == 1
    for one in taken:
        locked = [count for schema, count in schemas.items() if one.has(schema, "t")]
        assert sum(locked) <= room or len(locked) == 1
    assert taken[0].has("a schema that came since", "t")


@st.composite
def archives(draw: st.DrawFn) -> list[list[TocEntry]]:
    kinds = st.sampled_from(["TABLE", "VIEW", "FUNCTION", "INDEX", "COMMENT", "TABLE DATA", "ODD"])
    runs = []
    for _ in range(draw(st.integers(1, 3))):
        run: list[TocEntry] = []
        for number in range(1, draw(st.integers(1, 8)) + 1):
            # pg_dump writes what is needed first: dependencies are of earlier entries.
            needs = draw(st.lists(st.integers(1, number - 1), max_size=3)) if number > 1 else []
            desc = draw(kinds)
            run.append(
                TocEntry(
                    number, False, "0", "0", f"n{number}", desc, draw(st.integers(1, 4)), "", "",
                    None, None, None, None, 0, "", "false", tuple(map(str, needs)), None,
                )
            )  # fmt: skip
        runs.append(run)
    return runs


@given(archives())
def test_joined_archives_hold_everything_and_what_is_needed_comes_first(
    runs: list[list[TocEntry]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        parts = []
        for number, run in enumerate(runs):
            path = Path(directory, f"{number}.toc")
            with path.open("wb") as sink:
                write_toc(HEADER, run, len(run), sink)
            parts.append((path, f"{number}_"))
        joined = io.BytesIO()
        merge_tocs(parts, joined)
    _, entries = read_toc(io.BytesIO(joined.getvalue()))
    found = list(entries)
    assert len(found) == sum(map(len, runs))
    place = {entry.dump_id: place for place, entry in enumerate(found)}
    assert len(place) == len(found)
    for entry in found:
        assert all(place[int(need)] < place[entry.dump_id] for need in entry.dependencies)
