"""The command's edge: where options may stand, how errors are told, what exit statuses say."""

import io
import json
import signal
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from pgkeep.cli.context import Context, hoist, say_error
from pgkeep.cli.main import Stopped, _Forgiving, build_app, run
from pgkeep.model.lsn import BadLsn


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("list --json", "--json list"),
        ("--cluster a list", "--cluster a list"),
        ("backup --label x --cluster a -v", "--cluster a -v backup --label x"),
        ("list --config=f.toml", "--config=f.toml list"),
        ("wal push -- --json", "wal push -- --json"),
        ("list --cluster", "--cluster list"),
    ],
)
def test_global_options_may_stand_anywhere(typed: str, meant: str) -> None:
    assert hoist(typed.split()) == meant.split()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"version", "python"}


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["lst"], "error: no such command 'lst'", "hint: see: pgkeep --help"),
        (["restore"], "error: missing option '--target-dir'", "hint: see: pgkeep restore --help"),
        (["wal", "push"], "error: missing argument 'PATH'", "hint: see: pgkeep wal push --help"),
    ],
)
def test_a_wrong_command_line_is_status_2(
    arguments: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert hint in said.err


@pytest.mark.parametrize("arguments", [[], ["wal"], ["key"]])
def test_no_command_is_status_2_with_the_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: pgkeep" in said.err


def test_a_usage_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--nonsense", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_an_error_tells_what_then_what_to_type_then_its_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_error(BadLsn("x\x1b[2J"))
    assert capsys.readouterr().err.splitlines() == [
        r"error: cannot read 'x\x1b[2J' as a WAL position",
        "hint: write it as PostgreSQL prints it, like 0/4A000028",
        "code: bad-lsn, exit status 12",
    ]


def raising(error: BaseException) -> Callable[..., Any]:
    def register(app: Any) -> None:
        @app.command("boom")  # type: ignore[untyped-decorator]
        def boom() -> None:
            raise error

    return register


@pytest.fixture
def boom(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Run a command that raises."""

    def go(error: BaseException) -> int:
        module = types.ModuleType("commands_boom")
        module.register = raising(error)  # type: ignore[attr-defined]
        monkeypatch.setattr("pgkeep.cli.main.wal", module)
        return run(["boom"])

    return go


def test_a_bug_says_so(
    boom: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert boom(ZeroDivisionError("by nought")) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: pgkeep has a bug: ZeroDivisionError: by nought",
        "hint: run it again with -v and report what it prints",
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Stopped(signal.SIGINT), 130),
        (Stopped(signal.SIGTERM), 143),
        (Stopped(signal.SIGHUP), 129),
        (BadLsn("x"), 12),
    ],
)
def test_every_ending_has_its_status(
    boom: Callable[[BaseException], int], error: BaseException, status: int
) -> None:
    assert boom(error) == status


def test_a_closed_stderr_ends_nothing() -> None:
    closed = io.StringIO()
    closed.close()
    stream = _Forgiving(closed)
    assert stream.write("progress") == len("progress")
    stream.flush()


def test_every_command_has_a_short_help_that_fits() -> None:
    app = build_app(Context())
    import typer

    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        first = (command.help or "").split("\n\n")[0]
        assert first, name
        assert len(name) + len(" ".join(first.split())) < 75, f"{name}: {first}"


@pytest.fixture(autouse=True)
def _same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """run() wraps stderr and catches signals, as the whole process is its own."""
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr("pgkeep.cli.main._catch_signals", lambda: None)
