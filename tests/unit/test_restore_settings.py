"""What a restored server is told: settings, label and map, as texts."""

from dataclasses import replace
from typing import Any

import pytest

from pgkeep.model.backup import BackupId
from pgkeep.model.lsn import Lsn
from pgkeep.model.segment import Segment
from pgkeep.model.target import Action
from pgkeep.model.timeline import History
from pgkeep.postgres.backup_label import BadBackupLabel
from pgkeep.postgres.conf import parse_conf
from pgkeep.repository.manifest.facts import Facts, Tablespace
from pgkeep.restore import settings
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.settings import ConfigTexts, RecoveryOptions, adopted, auto_conf
from pgkeep.restore.tablespaces import TablespaceMove
from support.manifests import some_facts

LABEL = (
    "START WAL LOCATION: 0/4A000028 (file 00000001000000000000004A)\n"
    "CHECKPOINT LOCATION: 0/4A000080\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n"
    "START TIME: 2026-11-23 04:42:25 UTC\nLABEL: x\nSTART TIMELINE: 1\n"
)
SPACES = (Tablespace(16384, "/mnt/a"), Tablespace(16385, "/mnt/b c"))
MAP = "16384 /mnt/a\n16385 /mnt/b c\n"


def facts_of(**more: Any) -> Facts:
    return some_facts(**{"backup_label": LABEL, **more})


def plan_of(*named: tuple[str, str], standby: bool = False) -> RestorePlan:
    backup = facts_of().backup()
    return RestorePlan(
        cluster="main",
        backup=replace(backup, id=BackupId("b1")),
        target_dir="/new",
        asked="xid:9",
        history=History(1),
        action=Action.PROMOTE,
        stop=None,
        settings=named or (("recovery_target_timeline", "1"), ("recovery_target_xid", "9")),
        first_segment=Segment.containing(Lsn(1 << 24), 1, 1 << 24),
        last_segment=Segment.containing(Lsn(1 << 24), 1, 1 << 24),
        standby=standby,
    )


def written(main: str = "", auto: str = "", **more: Any) -> str:
    facts = more.pop("facts", facts_of())
    plan = more.pop("plan", plan_of())
    options = RecoveryOptions("fetch it", **more)
    return auto_conf(ConfigTexts(main, auto), plan, options, facts, "2026-11-23 12:00:00 UTC")


def test_the_whole_block() -> None:
    assert written(auto="work_mem = '5MB' # mine\n") == (
        "work_mem = '5MB' # mine\n"
        "# pgkeep restore: backup b1 of main to xid:9, restored 2026-11-23 12:00:00 UTC\n"
        "restore_command = 'fetch it'\n"
        "recovery_end_command = 'rm -rf pg_wal/pgkeep-spool-*'\n"
        "recovery_target_timeline = '1'\n"
        "recovery_target_xid = '9'\n"
        "# A copy must not write into its original's archive. To archive from here on, give this "
        "server a cluster of its own in pgkeep.toml, then take out this line\n"
        "archive_mode = 'off'\n"
    )


def test_archiving_goes_on_when_asked() -> None:
    assert "archive_mode" not in written(keep_archiving=True)


def test_scenario_52_old_settings_in_both_files() -> None:
    text = written(
        "recovery_target_name = 'old'\nrecovery_target_time = 'x'\nprimary_slot_name = s\n",
        "recovery_target_lsn = '0/1'\nshared_buffers = 1GB\nRESTORE_COMMAND = 'old'\n",
    )
    values = parse_conf(text).values()
    assert "recovery_target_lsn" not in values
    assert values["shared_buffers"] == "1GB"
    assert values["recovery_target_name"] == values["primary_slot_name"] == ""
    assert values["restore_command"] == "fetch it"
    # the server would complain of two targets if an empty one came after ours
    assert text.index("recovery_target_time = ''") < text.index("recovery_target_xid")


def test_our_target_is_not_cleared_when_the_old_one_is_of_its_kind() -> None:
    main = "recovery_target_xid = '5'\nrecovery_target_time = 'x'\n"
    text = written(main)
    assert text.count("recovery_target_xid") == 1
    assert text.index("recovery_target_time = ''") < text.index("recovery_target_xid = '9'")


def test_included_files_may_hold_targets() -> None:
    text = written("include_dir = 'conf.d'\n")
    for name in ("recovery_target", "recovery_target_name", "recovery_target_time"):
        assert f"{name} = ''" in text


def test_a_second_restore_leaves_one_heading() -> None:
    once = written(auto="a.b = 1\n")
    assert written(auto=once).count("# pgkeep restore: ") == 1


def test_too_low_settings_are_raised_to_the_source() -> None:
    facts = facts_of(settings={"max_connections": "300", "max_wal_senders": "10"})
    values = parse_conf(written("max_connections = 20\n", facts=facts)).values()
    assert values["max_connections"] == "300"
    assert "max_wal_senders" not in values
    assert "max_connections" not in written("max_connections = 400\n", facts=facts)


def test_standby() -> None:
    plan = plan_of(("recovery_target_timeline", "latest"), standby=True)
    text = written("", "primary_conninfo = 'password=old'\n", plan=plan, primary_conninfo="host=p")
    assert "primary_conninfo = 'host=p'" in text
    assert "password" not in text
    assert "as a standby" in text


def test_in_place_tablespaces_are_allowed() -> None:
    facts = facts_of(tablespaces=(Tablespace(16390, "pg_tblspc/16390"),))
    assert "allow_in_place_tablespaces = 'on'" in written(facts=facts)


def test_adopted_takes_out_what_points_elsewhere() -> None:
    text = "port = 5432\ndata_directory = '/old'\ninclude_dir = 'conf.d'\n# end"
    assert adopted(text) == (
        "port = 5432\n# end\n# taken out by pgkeep restore: data_directory = '/old'\n"
        "# taken out by pgkeep restore: include_dir = 'conf.d'\n"
    )


@pytest.mark.parametrize(
    "label",
    ["", "x", LABEL.replace("0/4A000028", "0/4B000028"), LABEL.replace("LINE: 1", "LINE: 2")],
)
def test_scenario_5_a_damaged_label_is_refused(label: str) -> None:
    with pytest.raises(BadBackupLabel):
        settings.backup_label(facts_of(backup_label=label))


def test_the_label_stays_as_it_is() -> None:
    assert settings.backup_label(facts_of()) == LABEL


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="removed"),
        pytest.param(MAP + "garbage\n", id="garbage"),
        pytest.param(MAP.replace("/mnt/a", "/mnt/z"), id="another place"),
        pytest.param("16385 /mnt/a\n16384 /mnt/b c\n", id="swapped"),
        pytest.param("16384 /mnt/a\n", id="one lost"),
    ],
)
def test_scenario_22_a_damaged_map_is_refused(text: str) -> None:
    with pytest.raises(BadBackupLabel):
        settings.tablespace_map(facts_of(tablespaces=SPACES, tablespace_map=text), plan_of())


def test_the_map_gets_the_new_places() -> None:
    moves = (TablespaceMove(16385, "/mnt/b c", "/n/two", ""),)
    facts = facts_of(tablespaces=SPACES, tablespace_map=MAP)
    plan = replace(plan_of(), tablespaces=moves)
    assert settings.tablespace_map(facts, plan) == "16384 /mnt/a\n16385 /n/two\n"
