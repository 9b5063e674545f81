"""Every error of pgkeep: unique names, the house's wording, and a place in docs/errors.md."""

import importlib.util
import pickle
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from pgkeep.errors import PgkeepError

ROOT = Path(__file__).parents[2]


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


docs = _tool("docs")
ERRORS: list[type[PgkeepError]] = docs.error_classes()
each = pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)


def test_codes_are_unique() -> None:
    assert [code for code, n in Counter(kind.code for kind in ERRORS).items() if n > 1] == []


def test_an_exit_status_is_shared_only_with_the_class_it_comes_from() -> None:
    first = {kind.exit_status: kind for kind in reversed(ERRORS) if "exit_status" in vars(kind)}
    declared = Counter(kind.exit_status for kind in ERRORS if "exit_status" in vars(kind))
    assert [status for status, times in declared.items() if times > 1] == []
    for kind in ERRORS:
        assert issubclass(kind, first[kind.exit_status]), kind


@each
def test_names_fit_their_promises(kind: type[PgkeepError]) -> None:
    assert kind.code == kind.code.lower().replace("_", "-").strip("-"), "kebab-case"
    # 9 up, so that 1 to 4 stay ours. 125 to 192 are a shell's, and 200 ends recovery.
    assert 9 <= kind.exit_status <= 124 or 201 <= kind.exit_status <= 254


@each
def test_it_says_what_it_is(kind: type[PgkeepError]) -> None:
    assert (kind.__doc__ or "").strip().endswith("."), f"{kind} has no docstring"
    assert kind.__doc__ != PgkeepError.__doc__


@each
def test_messages_and_hints_keep_the_house_style(kind: type[PgkeepError]) -> None:
    error = docs.example(kind)
    message, hint = str(error), error.hint
    assert message
    assert "\n" not in message
    for text in filter(None, (message, hint)):
        assert not text.endswith((".", "!")), f"ends in punctuation: {text}"
        assert not text.lower().startswith(("please", "sorry", "error")), text
        first = text.split()[0]
        assert first[0].islower() or not first[0].isalpha() or not first[1:].islower(), (
            f"begins with a capital: {text}"
        )


@each
def test_it_survives_the_way_home_from_a_worker(kind: type[PgkeepError]) -> None:
    error = docs.example(kind)
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), back.hint) == (kind, str(error), error.hint)


@pytest.mark.parametrize("page", ["errors.md", "configuration.md", "commands.md"])
def test_reference_pages_are_up_to_date(page: str) -> None:
    make = {
        "errors.md": docs.errors_page,
        "configuration.md": docs.options_page,
        "commands.md": docs.commands_page,
    }[page]
    text = (ROOT / "docs" / page).read_text()
    assert docs.renewed(text, make()) == text, "run: python tools/docs.py"
