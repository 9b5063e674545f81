"""Documents are read and spelled as json would, whichever way is taken."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pgkeep.repository.plain_json import canonical, loads, read_plain

TEXT = st.text(max_size=8) | st.sampled_from(['"', "\\", "a: b", '": ', "", "é", "\x7f", "\n", "1"])
VALUES = st.none() | st.booleans() | st.integers() | TEXT | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_what_was_written_is_read(facts: dict[str, Any]) -> None:
    content = json.dumps(facts, indent=2).encode() + b"\n"
    assert loads(content) == facts
    assert canonical(facts) == json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


LINES = st.sampled_from(
    ['"a": 1', '"a": "x"', '"b": null', '"b": 01', '"c": -1', '"c": 1.5', '"d": tru', '"e": "é"',
     '"f": "\\n"', '"g" : 1', '"h":2', "", '"i": ', '"j": "', '"k": ²', '"l": "x" "y"', "7: 7"]
)  # fmt: skip


@given(st.lists(LINES, max_size=4), st.sampled_from([",\n", "\n", " ,\n", ",,\n"]), st.booleans())
@example(['"a": 1'], ",\n", True)
def test_what_is_read_plainly_is_what_json_reads(lines: list[str], end: str, whole: bool) -> None:
    content = ("{\n  " + f"{end}  ".join(lines) + ("\n}\n" if whole else "\n")).encode()
    plain = read_plain(content)
    if plain is not None:
        assert plain == json.loads(content)


def test_a_document_of_ours_is_plain() -> None:
    facts = {"format": 1, "id": "0a", "key_check": None}
    assert read_plain(json.dumps(facts, indent=2).encode() + b"\n") == facts
