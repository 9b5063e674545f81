"""What checks and errors come to: failed, or only not tested."""

import pytest

from pgkeep.drill.checking import Checks
from pgkeep.drill.finding import failed, judge, passed, untested
from pgkeep.drill.troubles import judged
from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.repository.drills.report import Check, CheckKind, Status
from pgkeep.repository.packs.chunks import PackMissing
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import StoreFailed
from pgkeep.restore.target.unreachable import NothingToRestore, TargetTooLate
from pgkeep.sandbox.request import SandboxFailed, SandboxServerFailed, SandboxTooSmall
from pgkeep.server.binaries import PgToolsMissing
from pgkeep.server.session import SessionLost

LETTERS = {
    "R": CheckKind.RESTORE, "V": CheckKind.RECOVERY, "C": CheckKind.CONNECT,
    "A": CheckKind.AMCHECK, "Q": CheckKind.QUERY,
}  # fmt: skip
SIGNS = {"+": Status.PASSED, "-": Status.FAILED, "?": Status.NOT_TESTED}


def checks(sketch: str) -> list[Check]:
    """'R+ A-' is a restore that passed and an amcheck that failed."""
    return [
        Check(kind=LETTERS[letter], status=SIGNS[sign], words="")
        for letter, sign in map(tuple, sketch.split())
    ]


@pytest.mark.parametrize(
    ("sketch", "status"),
    [
        pytest.param("R+ V+ C+ A+", "passed", id="all passed"),
        pytest.param("R+ V+ C+ A?", "passed", id="something beside could not be tested"),
        pytest.param("R+ V+ C+ A-", "failed", id="one failed"),
        pytest.param("R? V? C?", "could not test", id="nothing could be tried"),
        pytest.param("R+ V? C?", "could not test", id="it did not come up, for nobody's fault"),
        pytest.param("R? V- C?", "failed", id="failed goes before could not test"),
        pytest.param("R+ V+ A+", "could not test", id="an essential one was forgotten"),
        pytest.param("", "could not test", id="nothing at all"),
        pytest.param("R+ V+ C+ Q+ Q-", "failed", id="one query of two"),
    ],
)
def test_judge(sketch: str, status: str) -> None:
    assert judge(checks(sketch)).value == status


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (Damaged("pack", "torn"), CheckKind.RESTORE, Status.FAILED),
        (PackMissing("b", "p", "s", "f"), CheckKind.RESTORE, Status.FAILED),
        (NothingToRestore("main", "no backup"), CheckKind.RECOVERY, Status.FAILED),
        (SandboxServerFailed("FATAL", "/x", "a\nb"), CheckKind.RECOVERY, Status.FAILED),
        (
            SandboxServerFailed("x: No space left on device", "/x", ""),
            CheckKind.RECOVERY,
            Status.NOT_TESTED,
        ),
        (SandboxFailed("no superuser was found in it"), CheckKind.CONNECT, Status.FAILED),
        (SandboxTooSmall("why", "/x", 9, 1), CheckKind.RESTORE, Status.NOT_TESTED),
        (StoreFailed("s3://x", "get y", "timeout"), CheckKind.RESTORE, Status.NOT_TESTED),
        (PgToolsMissing("18", None, []), CheckKind.RESTORE, Status.NOT_TESTED),
    ],
    ids=lambda value: getattr(value, "code", str(value)),
)
def test_an_error_is_the_backups_or_only_in_the_way(
    error: PgkeepError, kind: CheckKind, status: Status
) -> None:
    found, finding = judged(error)
    assert (found, finding.status) == (kind, status)
    assert finding.words == str(error)


def test_a_wrong_question_is_no_verdict() -> None:
    with pytest.raises(TargetTooLate):
        judged(TargetTooLate(str(Lsn(7)), "yesterday"))


def test_a_check_that_breaks_off_was_not_tested_and_others_are_named() -> None:
    made = Checks(clock=iter(range(9)).__next__)

    def broken() -> None:
        raise SessionLost("read", "the server went away")

    with made.others(CheckKind.READ, CheckKind.AMCHECK, why="not reached"):
        made.make(CheckKind.AMCHECK, broken)  # type: ignore[arg-type]
        made.make(CheckKind.CONNECT, lambda: passed("all"))
    told = made.told()
    assert [(check.kind.value, check.status.value, check.seconds) for check in told] == [
        ("connect", "passed", 1),
        ("amcheck", "could not test", 1),
        ("read", "could not test", 0),
    ]
    assert "the server went away" in told[1].words
    made.replace(CheckKind.CONNECT, failed("it died"))
    assert made.told()[0].words == "it died"


def test_evidence_is_cut_and_counted() -> None:
    lines = [f"line {n}\n with {'x' * 500}" for n in range(50)]
    check = untested("words", lines).check(CheckKind.READ, 1.23456)
    assert (len(check.evidence), check.more, check.seconds) == (20, 30, 1.235)
    assert all(len(line) == 300 and "\n" not in line for line in check.evidence)
