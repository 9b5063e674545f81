"""The house rules that no linter knows: sizes of modules, functions and packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pgkeep

SOURCE = Path(pgkeep.__file__).parent
MODULE_LINES, FUNCTION_LINES, PACKAGE_MODULES, POSITIONAL = 500, 60, 12, 5


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield path, node


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    long = {str(p): n for p in modules() if (n := len(p.read_text().splitlines())) > MODULE_LINES}
    assert long == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(SOURCE)}: {node.name} has {lines} lines"
        for path, node in functions()
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert long == []


def test_no_function_takes_more_than_five_positional_parameters() -> None:
    many = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path, node in functions()
        if len([a for a in node.args.args if a.arg not in {"self", "cls"}]) > POSITIONAL
    ]
    assert many == []


def test_no_package_has_more_than_a_dozen_modules() -> None:
    counts = {
        str(folder.relative_to(SOURCE)): count
        for folder in {path.parent for path in modules()}
        if (count := len([p for p in folder.glob("*.py") if p.name != "__init__.py"]))
        > PACKAGE_MODULES
    }
    assert counts == {}


def test_init_files_hold_one_sentence() -> None:
    for path in SOURCE.rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert isinstance(body[0], ast.Expr), path
        assert path.parent == SOURCE or len(body) == 1, path
