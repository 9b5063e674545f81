"""The command line of pgkeep-wal, and what its exit status may never be."""

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.repository.store.base import StoreFailed
from pgkeep.wal.main import Call, Misused, main, parse
from pgkeep.wal.retry import WAITS, patiently


def test_options_may_stand_anywhere() -> None:
    call = Call("push", ("pg_wal/0001",), config="/c", cluster="main")
    assert parse(["--config", "/c", "--cluster", "main", "push", "pg_wal/0001"]) == call
    assert parse(["push", "--config=/c", "pg_wal/0001", "--cluster=main"]) == call


def test_fetch_takes_its_generation_and_missing_status() -> None:
    words = [
        "--generation",
        "18-77",
        "--missing-status",
        "90",
        "--repository",
        "/r",
        "fetch",
        "A",
        "pg_wal/B",
    ]
    assert parse(words) == Call(
        "fetch", ("A", "pg_wal/B"), repository="/r", generation="18-77", missing_status=90
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "nothing with 0 file names"),
        ("push", "push with 0 file names"),
        ("push a b", "push with 2 file names"),
        ("fetch a", "fetch with 1 file names"),
        ("pull a b", "pull with 2 file names"),
        ("--confg x push a", "there is no option --confg"),
        ("push a --config", "--config needs a value"),
        ("push a --config=", "--config needs a value"),
        ("--missing-status 0 fetch a b", "--missing-status takes 1 to 125, not 0"),
        ("--missing-status 126 fetch a b", "--missing-status takes 1 to 125, not 126"),
        ("--missing-status x fetch a b", "--missing-status takes 1 to 125, not x"),
    ],
)
def test_a_senseless_command_line_is_refused(words: str, why: str) -> None:
    with pytest.raises(Misused) as caught:
        parse(words.split())
    assert str(caught.value) == why


@pytest.mark.parametrize("words", ["fetch a", "fetchh a b", "", "--nonsense fetch a b"])
def test_a_mistyped_restore_command_stops_recovery(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 200
    assert "usage: pgkeep-wal" in capsys.readouterr().err


def test_a_mistyped_archive_command_is_retried(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push"]) == 2
    assert "cannot understand the command line: push with 0" in capsys.readouterr().err


def test_without_a_config_fetch_stops_recovery(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    words = ["--config", f"{tmp_path}/none.toml", "fetch", "0" * 24, f"{tmp_path}/x"]
    assert main(words) == 200
    assert capsys.readouterr().err == (
        f"pgkeep-wal: cannot find the config: there is no {tmp_path}/none.toml; recovery stops "
        "here, so that nothing is lost\n"
        "hint: write one with: pgkeep init; or name yours with --config or $PGKEEP_CONFIG\n"
    )


def test_without_a_config_push_fails_with_the_error_s_own_status(tmp_path: object) -> None:
    assert main(["--config", f"{tmp_path}/none.toml", "push", "pg_wal/0001"]) == 17


class Flaky:
    """Fails as often as told, then answers 7."""

    def __init__(self, failures: int, error: PgkeepError) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return 7


FAILED = StoreFailed("/srv", "read x", "Input/output error")


def test_a_store_that_comes_back_is_waited_for() -> None:
    waited: list[float] = []
    assert patiently(Flaky(3, FAILED), waited.append) == 7
    assert waited == list(WAITS[:3])
    assert sum(WAITS) <= 10


def test_patience_ends() -> None:
    store = Flaky(99, FAILED)
    with pytest.raises(StoreFailed):
        patiently(store, lambda _: None)
    assert store.calls == len(WAITS) + 1


def test_what_will_not_mend_is_not_tried_again() -> None:
    store = Flaky(99, PgkeepError())
    with pytest.raises(PgkeepError):
        patiently(store, lambda _: None)
    assert store.calls == 1
