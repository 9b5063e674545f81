"""What a restore decides, and how it refuses; on sketches of an archive, without any server."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.model.backup import Backup, BackupId, BackupType
from pgkeep.model.cluster import Generation
from pgkeep.model.coverage import coverage
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.target import Action, BadTarget, RecoveryTarget, TimelineChoice, parse_target
from pgkeep.model.timeline import History
from pgkeep.restore.plan import Question, RestorePlan, candidates, choose_timeline, plan_restore
from pgkeep.restore.target.found import Change, Damage
from pgkeep.restore.target.locate import RestorePoint, SegmentUnusable, Stretch, locate
from pgkeep.restore.target.unreachable import (
    BackupCannotReach,
    NothingToRestore,
    TargetBehindDamage,
    TargetInHole,
    TargetNotFound,
    TargetTooEarly,
    TargetTooLate,
    WrongTimeline,
)

SIZE = 1 << 20
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
GENERATION = Generation(7710983248089545577, 18, SIZE)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


@dataclass
class Sketch:
    """An archive in words: 'B commit:7@3 . point:x@4 | commit:8@5'.

    Each word is a record, 256 bytes after the one before: 'commit:XID@MINUTE', 'abort:...',
    'point:NAME@MINUTE', '.' for any other record; 'B@MINUTE' is a whole backup, three records
    long, complete at that minute. '|' begins a new segment, '-' one that is missing, '#' one that
    is damaged.
    """

    changes: dict[int, list[Change]] = field(default_factory=dict)
    named: dict[int, list[RestorePoint]] = field(default_factory=dict)
    records: list[Lsn] = field(default_factory=list)
    backups: list[Backup] = field(default_factory=list)
    archived: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)  # segments that were looked into

    @classmethod
    def of(cls, text: str, timeline: int = 1) -> "Sketch":
        sketch, number, position = cls(), 1, 40
        sketch.archived.append(1)
        for word in text.split():
            lsn = Lsn(number * SIZE + position)
            kind, _, minute = word.partition("@")
            if word in ("|", "-", "#"):
                number, position = number + 1, 40
                if word != "-":
                    sketch.archived.append(number)
                if word == "#":
                    sketch.damaged.append(number)
                continue
            if number not in sketch.archived:
                sketch.archived.append(number)
            if kind == "B":
                sketch._add_backup(lsn, at(float(minute)), timeline)
                position += 768
                sketch.records += [lsn, Lsn(lsn + 256), Lsn(lsn + 512)]
                continue
            sketch._add_record(lsn, kind, float(minute or 0))
            position += 256
        return sketch

    def _add_backup(self, lsn: Lsn, stopped: datetime, timeline: int) -> None:
        started = stopped - timedelta(seconds=30)
        name = BackupId(f"{started:%Y%m%dT%H%M%SZ}-0000")
        self.backups.append(
            Backup(
                name, BackupType.FULL, GENERATION, timeline, lsn, Lsn(lsn + 768), started, stopped
            )
        )

    def _add_record(self, lsn: Lsn, kind: str, minute: float) -> None:
        name, _, value = kind.partition(":")
        self.records.append(lsn)
        number = lsn // SIZE
        if name in ("commit", "abort"):
            change = Change(lsn, int(value), at(minute), name == "commit")
            self.changes.setdefault(number, []).append(change)
        elif name == "point":
            self.named.setdefault(number, []).append(RestorePoint(lsn, value, at(minute)))

    def _look(self, segment: Segment) -> None:
        self.read.append(segment.number)
        if segment.number in self.damaged:
            raise SegmentUnusable(Damage(segment, "cannot use wal/x, it is damaged: bits flipped"))

    def points(self, segment: Segment) -> Sequence[RestorePoint]:
        self._look(segment)
        return self.named.get(segment.number, [])

    def changes_of(self, segment: Segment) -> Sequence[Change]:
        self._look(segment)
        return self.changes.get(segment.number, [])

    def first_record(self, segment: Segment, lsn: Lsn) -> Lsn | None:
        self._look(segment)
        ours = [r for r in self.records if r // SIZE == segment.number and r >= lsn]
        return ours[0] if ours else None

    def lsn_of(self, index: int) -> Lsn:
        """Return where a record starts; a backup is three records."""
        return self.records[index]


class Reader:
    """The sketch as `locate` reads it."""

    def __init__(self, sketch: Sketch) -> None:
        self.changes = sketch.changes_of
        self.points = sketch.points
        self.first_record = sketch.first_record


def plan(
    sketch: Sketch,
    to: str,
    *,
    inclusive: bool = True,
    backup: str | None = None,
    timeline: TimelineChoice = "latest",
    action: Action = Action.PROMOTE,
    standby: bool = False,
    stop_at_hole: bool = False,
    histories: dict[int, History] | None = None,
    archived: dict[int, list[int]] | None = None,
) -> RestorePlan:
    found = coverage(GENERATION, sketch.backups, archived or {1: sketch.archived}, histories or {})
    question = Question(
        "main",
        found,
        tuple(sketch.backups),
        RecoveryTarget(parse_target(to, UTC), inclusive, timeline, action),
        BackupId(backup) if backup else None,
        standby,
        stop_at_hole,
    )
    line = choose_timeline(question)
    stretches = [
        Stretch(line, SIZE, question.backup(reach.backup).start_lsn, reach.end)
        for reach in candidates(question, line)
    ]
    search = locate(question.recovery, stretches, Reader(sketch))
    return plan_restore(question, line, search, "/new/data")


def minute_text(minute: float) -> str:
    return f"{at(minute):%Y-%m-%d %H:%M:%S}+00"


TWO_BACKUPS = "B@1 commit:7@2 commit:8@3 | B@5 commit:9@6 point:x@7 | commit:10@8 abort:11@9 ."


def test_latest_takes_the_newest_backup() -> None:
    sketch = Sketch.of(TWO_BACKUPS)
    done = plan(sketch, "latest")
    assert done.backup == sketch.backups[1]
    assert done.settings == (("recovery_target_timeline", "1"),)
    assert (done.first_segment.number, done.last_segment.number) == (2, 3)
    assert "it was complete at 2026-11-23 12:05:00 UTC" in done.reasons[0]


@pytest.mark.parametrize(
    ("to", "inclusive", "stops"),
    [
        (minute_text(2), True, "right before the commit of transaction 8 at 2026-11-23 12:03:00"),
        (minute_text(2), False, "right before the commit of transaction 7 at 2026-11-23 12:02:00"),
        (minute_text(6.5), True, "right before the commit of transaction 10 at"),
        (minute_text(8.5), True, "right before the abort of transaction 11 at"),
        ("xid:8", True, "right after the commit of transaction 8 at"),
        ("xid:8", False, "right before the commit of transaction 8 at"),
        ("xid:11", True, "right after the abort of transaction 11 at"),
        ("xid:4294967304", True, "right after the commit of transaction 8 at"),
        ("name:x", True, "right after restore point 'x', made at 2026-11-23 12:07:00 UTC"),
    ],
)
def test_scenario_42_where_recovery_stops(to: str, inclusive: bool, stops: str) -> None:
    done = plan(Sketch.of(TWO_BACKUPS), to, inclusive=inclusive)
    assert str(done.stop).startswith(stops)
    assert any(reason.startswith(f"recovery stops {stops}") for reason in done.reasons)


@pytest.mark.parametrize(
    ("to", "settings"),
    [
        ("xid:8", {"recovery_target_xid": "8", "recovery_target_inclusive": "on"}),
        ("xid:4294967304", {"recovery_target_xid": "8", "recovery_target_inclusive": "on"}),
        (
            "2026-11-23 14:02:30+02",
            {
                "recovery_target_time": "2026-11-23 12:02:30+00",
                "recovery_target_inclusive": "on",
            },
        ),
        ("name:x", {"recovery_target_name": "x"}),
        ("immediate", {"recovery_target": "immediate"}),
    ],
)
def test_settings(to: str, settings: dict[str, str]) -> None:
    done = plan(Sketch.of(TWO_BACKUPS), to, action=Action.PAUSE)
    always = {"recovery_target_timeline": "1", "recovery_target_action": "pause"}
    assert dict(done.settings) == {**always, **settings}


def test_the_time_of_the_newest_change_itself_is_reachable() -> None:
    # PostgreSQL alone would wait for a later change, and fail
    sketch = Sketch.of(TWO_BACKUPS)
    done = plan(sketch, minute_text(9))
    newest = sketch.changes[3][-1]
    assert dict(done.settings)["recovery_target_lsn"] == str(newest.lsn)
    assert "recovery_target_time" not in dict(done.settings)
    assert str(done.stop).startswith("right after the abort of transaction 11")


def test_a_time_after_the_newest_change_is_refused() -> None:
    with pytest.raises(TargetTooLate) as caught:
        plan(Sketch.of(TWO_BACKUPS), minute_text(60))
    assert str(caught.value) == (
        "cannot restore to 2026-11-23 13:00:00+00:00: the newest change on record is the abort of "
        "transaction 11 at 2026-11-23 12:09:00 UTC, and nothing after it tells whether that is all"
    )
    assert "--to latest" in caught.value.hint


def test_scenario_46_a_target_while_the_newer_backup_was_taken_uses_the_older() -> None:
    sketch = Sketch.of("B@1 commit:7@2 | B@5 commit:9@6 | .")
    assert plan(sketch, minute_text(4.8)).backup == sketch.backups[0]
    with pytest.raises(TargetTooEarly) as caught:
        plan(sketch, minute_text(0.9))
    assert "was complete only at 2026-11-23 12:01:00 UTC (0/100328)" in str(caught.value)
    assert caught.value.hint == "the earliest reachable moment: --to '2026-11-23 12:01:00+00'"


def test_scenario_46_naming_the_newer_backup_is_refused() -> None:
    sketch = Sketch.of("B@1 commit:7@2 | B@5 commit:9@6 | .")
    with pytest.raises(BackupCannotReach) as caught:
        plan(sketch, minute_text(4.8), backup=sketch.backups[1].id)
    assert "nothing before that can be reached from it" in str(caught.value)
    assert sketch.backups[0].id in caught.value.hint
    inside = f"lsn:{sketch.backups[1].start_lsn + 8}"
    assert plan(sketch, inside).backup == sketch.backups[0]
    with pytest.raises(BackupCannotReach):
        plan(sketch, inside, backup=sketch.backups[1].id)


def test_scenario_61_latest_across_a_hole_is_refused_unless_accepted() -> None:
    sketch = Sketch.of("B@1 commit:7@2 | commit:8@3 - | commit:10@5")
    sketch.archived = [1, 2, 4]
    with pytest.raises(TargetInHole) as caught:
        plan(sketch, "latest")
    assert str(caught.value) == (
        "cannot restore to latest: WAL segment 000000010000000000000003 is not archived"
    )
    assert "12:03:00 UTC" in caught.value.hint
    assert plan(sketch, "latest", stop_at_hole=True).last_segment.number == 2


def test_scenario_61_a_time_in_a_hole_names_both_sides() -> None:
    sketch = Sketch.of("B@1 commit:7@2 | - | B@5 commit:9@6 .")
    sketch.archived = [1, 2, 4]
    with pytest.raises(TargetInHole) as caught:
        plan(sketch, minute_text(4))
    hint = caught.value.hint
    assert "before the hole is 2026-11-23 12:02:00 UTC (--to '2026-11-23 12:02:00+00')" in hint
    assert f"after it is 2026-11-23 12:05:00 UTC (backup {sketch.backups[1].id})" in hint
    # what the hint proposes works
    assert plan(sketch, minute_text(2)).backup == sketch.backups[0]
    assert plan(sketch, minute_text(5.5)).backup == sketch.backups[1]


def test_scenario_49_an_unknown_transaction_is_refused() -> None:
    with pytest.raises(TargetNotFound, match="no end of this transaction is on record"):
        plan(Sketch.of(TWO_BACKUPS), "xid:99")


def test_scenario_50_commit_order_is_not_id_order() -> None:
    sketch = Sketch.of("B@1 commit:101@2 commit:150@3 | commit:100@4 commit:151@5 .")
    stop = plan(sketch, "xid:100", inclusive=False).stop
    assert stop is not None
    assert stop.last is not None
    assert stop.last.xid == 150
    first = plan(sketch, "xid:101").stop
    assert first is not None
    assert first.lsn < stop.lsn


def test_scenario_51_an_unknown_restore_point_names_the_known_ones() -> None:
    with pytest.raises(TargetNotFound) as caught:
        plan(Sketch.of(TWO_BACKUPS), "name:nowhere")
    assert "the newest ones are x (2026-11-23 12:07:00 UTC)" in str(caught.value)


def test_a_restore_point_made_twice_is_told() -> None:
    sketch = Sketch.of("B@1 point:x@2 commit:7@3 point:x@4 .")
    done = plan(sketch, "name:x")
    assert done.stop is not None
    assert done.stop.lsn == sketch.lsn_of(3)
    assert "was made more than once" in done.warnings[0]


def test_scenario_43_an_inclusive_lsn_says_what_it_includes() -> None:
    sketch = Sketch.of("B@1 commit:7@2 commit:8@3 .")
    lsn = sketch.changes[1][1].lsn
    included = plan(sketch, f"lsn:{lsn}")
    assert str(included.stop).startswith("right after the commit of transaction 8")
    assert included.reasons[-1].startswith(
        "the last change included is the commit of transaction 8"
    )
    excluded = plan(sketch, f"lsn:{lsn}", inclusive=False)
    assert excluded.reasons[-1].startswith(
        "the last change included is the commit of transaction 7"
    )


def test_an_lsn_after_the_newest_record_is_refused() -> None:
    sketch = Sketch.of("B@1 commit:7@2")
    with pytest.raises(TargetTooLate):
        plan(sketch, "lsn:0/1FFFF0")
    with pytest.raises(TargetTooLate):
        plan(sketch, "lsn:5/0")


def test_scenario_53_a_clock_that_stepped_is_told() -> None:
    sketch = Sketch.of("B@1 commit:7@2 commit:8@62 commit:9@3 commit:10@4 .")
    done = plan(sketch, minute_text(3.5))
    assert str(done.stop).startswith("right before the commit of transaction 8 at")
    assert "the server's clock stepped back near the target" in done.warnings[0]
    assert f"--to lsn:{sketch.changes[1][2].lsn}" in done.warnings[0]


def test_times_are_found_by_bisection() -> None:
    text = "B@0 " + " | ".join(f"commit:{n}@{n}" for n in range(1, 400)) + " | ."
    sketch = Sketch.of(text)
    done = plan(sketch, minute_text(300.5))
    assert str(done.stop).startswith("right before the commit of transaction 301 at")
    assert len(set(sketch.read)) < 40


def test_a_transaction_is_found_by_bisection() -> None:
    text = "B@0 " + " | ".join(f"commit:{n}@{n}" for n in range(3, 400)) + " | ."
    sketch = Sketch.of(text)
    assert str(plan(sketch, "xid:300").stop).startswith("right after the commit of transaction 300")
    assert len(set(sketch.read)) < 40


def test_an_idle_archive_is_searched_too() -> None:
    sketch = Sketch.of("B@0 commit:7@1 " + "| " * 60 + "commit:8@70 .")
    assert str(plan(sketch, minute_text(30)).stop).startswith("right before the commit of tran")


FORKED = {2: History.parse(2, "1\t0/200100\tno recovery target specified\n")}


def test_scenario_28_a_sibling_backup_is_refused() -> None:
    sketch = Sketch.of("B@1 commit:7@2 | commit:8@3 | B@5 commit:9@6 | .")
    along = {1: [1, 2, 3, 4], 2: [2, 3]}
    with pytest.raises(BackupCannotReach) as caught:
        plan(
            sketch,
            "latest",
            backup=sketch.backups[1].id,
            timeline=2,
            histories=FORKED,
            archived=along,
        )
    assert "is no part of the history of timeline 2" in str(caught.value)
    done = plan(sketch, "latest", timeline=2, histories=FORKED, archived=along)
    assert done.backup == sketch.backups[0]
    assert dict(done.settings)["recovery_target_timeline"] == "2"
    assert done.last_segment.name == "000000020000000000000003"


def test_scenario_31_a_missing_history_is_named() -> None:
    sketch = Sketch.of("B@1 commit:7@2 | .")
    along = {1: [1, 2], 3: [2]}
    with pytest.raises(WrongTimeline) as caught:
        plan(sketch, "latest", timeline=3, archived=along)
    assert "the history file of timeline 3 is not archived" in str(caught.value)
    assert plan(sketch, "latest", timeline=1, archived=along).timeline == 1
    with pytest.raises(WrongTimeline, match="no timeline 9 on record"):
        plan(sketch, "latest", timeline=9)


def test_scenario_2_a_backup_without_its_wal_is_refused() -> None:
    sketch = Sketch.of("B@1")
    sketch.archived = []
    with pytest.raises(NothingToRestore, match="needs WAL segment 000000010000000000000001"):
        plan(sketch, "latest", archived={1: []})


def test_nothing_to_restore() -> None:
    with pytest.raises(NothingToRestore, match="no backup of it in this repository"):
        plan(Sketch(), "latest")


@pytest.mark.parametrize(
    ("to", "standby", "action"),
    [
        ("latest", False, Action.PAUSE),
        ("immediate", True, Action.PROMOTE),
        ("xid:8", True, Action.PROMOTE),
    ],
)
def test_contradictions(to: str, standby: bool, action: Action) -> None:
    with pytest.raises(BadTarget):
        plan(Sketch.of(TWO_BACKUPS), to, standby=standby, action=action)


def test_a_standby_follows_the_newest_timeline() -> None:
    done = plan(Sketch.of(TWO_BACKUPS), "latest", standby=True)
    assert done.settings == (("recovery_target_timeline", "latest"),)


def test_every_refusal_has_a_hint() -> None:
    sketch = Sketch.of(TWO_BACKUPS)
    for to in ("xid:99", "name:no", minute_text(0), minute_text(99), "lsn:0/1", "lsn:9/0"):
        with pytest.raises(PgkeepError) as caught:
            plan(sketch, to)
        assert caught.value.hint


def test_the_plan_as_json() -> None:
    facts = plan(Sketch.of(TWO_BACKUPS), "xid:8").to_dict()
    assert facts["backup"] == "20261123T120030Z-0000"
    assert facts["stop_lsn"] == "0/100428"
    assert facts["first_segment"] == "000000010000000000000001"


DAMAGED = "B@0 commit:5@1 point:p@2 commit:6@3 | . # commit:7@5 | commit:8@7"


@pytest.mark.parametrize(
    ("to", "stops"),
    [
        ("2026-11-23 12:01:30+00", "right before the commit of transaction 6"),
        ("2026-11-23 12:03:00+00", "right after the commit of transaction 6"),
        ("xid:5", "right after the commit of transaction 5"),
        ("name:p", "right after restore point 'p'"),
    ],
)
def test_moments_before_damaged_wal_are_found(to: str, stops: str) -> None:
    decided = plan(Sketch.of(DAMAGED), to)
    assert str(decided.stop).startswith(stops)


@pytest.mark.parametrize(
    "to", ["latest", "2026-11-23 12:05:00+00", "xid:8", "xid:99", "name:q", "lsn:0/300100"]
)
def test_moments_behind_damaged_wal_are_refused_by_its_name(to: str) -> None:
    with pytest.raises(TargetBehindDamage) as caught:
        plan(Sketch.of(DAMAGED.replace("| commit:8@7", "# .")), to)
    assert caught.value.segment == "000000010000000000000003"
    assert "WAL segment 000000010000000000000003, on the way there, is damaged (cannot" in str(
        caught.value
    )
    assert caught.value.hint.startswith(
        "the last reachable moment before it: --to '2026-11-23 12:03:00+00'; for more, bring "
    )


def test_damage_right_behind_the_target_turns_prefetching_off() -> None:
    """The server would ask for that segment while its target is still before it."""
    decided = plan(Sketch.of("B@0 commit:5@1 commit:6@3 # ."), "xid:5")
    assert ("recovery_prefetch", "off") in decided.settings
    assert decided.warnings == (
        "WAL segment 000000010000000000000002, behind the target, is damaged: nothing later can be "
        "restored from backups before it; take a new backup now (cannot use wal/x, it is damaged: "
        "bits flipped)",
    )
    whole = plan(Sketch.of("B@0 commit:5@1 commit:6@3 | ."), "xid:5")
    assert "recovery_prefetch" not in dict(whole.settings)


def test_a_backup_behind_the_damage_does_not_mind_it() -> None:
    decided = plan(Sketch.of("B@0 commit:5@1 # commit:6@2 | B@4 commit:7@5"), "latest")
    assert decided.backup.stopped_at == at(4)
    assert decided.warnings == ()
