"""What of a source's configuration goes into a sandbox, and what never does."""

import pytest

from pgkeep.model.target import Action
from pgkeep.sandbox.settings import Decided, Here, Source, choose_libraries, decide
from pgkeep.units import GIB, MIB

CONTROL = {"max_connections": 100, "max_worker_processes": 8, "max_wal_senders": 10}
AUTO = """
archive_mode = 'off'
restore_command = 'pgkeep-wal fetch "%f" "%p"'
recovery_target_lsn = '0/5000028'
recovery_target_action = 'promote'
primary_conninfo = ''
"""


def decided(
    main: str = "",
    *,
    major: int = 17,
    settings: dict[str, str] | None = None,
    control: dict[str, int] | None = None,
    action: Action = Action.PROMOTE,
    free: int = 8 * GIB,
    segment_size: int = 16 * MIB,
    **more: str,
) -> Decided:
    source = Source(major, main, AUTO, settings or {}, control or CONTROL, segment_size)
    here = Here(free, {"timescaledb"}, "/tmp/s", 4711)
    return decide(source, here, action, more)


def test_recovery_is_left_as_restore_has_decided() -> None:
    found = decided().settings
    assert found["restore_command"] == 'pgkeep-wal fetch "%f" "%p"'
    assert found["recovery_target_lsn"] == "0/5000028"
    assert "primary_conninfo" not in found, "empty: nothing was decided"


@pytest.mark.parametrize(
    "line",
    [
        "listen_addresses = '*'",
        "archive_mode = on",
        "archive_command = 'cp %p /archive/%f'",
        "archive_library = 'basic_archive'",
        "ssl = on",
        "ssl_passphrase_command = 'ask'",
        "hba_file = '/etc/hba.conf'",
        "data_directory = '/srv'",
        "external_pid_file = '/run/pg.pid'",
        "log_directory = '/var/log'",
        "logging_collector = on",
        "huge_pages = on",
        "shared_buffers = '64GB'",
        "synchronous_standby_names = 'other'",
        "session_preload_libraries = 'spy'",
        "max_logical_replication_workers = 4",
        "default_transaction_read_only = on",
        "unix_socket_directories = '/run/postgresql'",
        "include_dir = 'conf.d'",
        "lc_time = 'xx_YY.utf8'",
        "dynamic_library_path = '/opt/lib'",
        "fsync = on",
        "autovacuum = on",
        "sync_replication_slots = on",
    ],
)
def test_what_reaches_out_or_points_elsewhere_is_not_taken(line: str) -> None:
    assert decided(line).settings == decided().settings


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("search_path = 'app, public'", "search_path", "app, public"),
        ("TimeZone = 'Europe/Berlin'", "timezone", "Europe/Berlin"),
        ("app.tenant = 'x'", "app.tenant", "x"),
        ("track_commit_timestamp = on", "track_commit_timestamp", "on"),
    ],
)
def test_what_answers_depend_on_is_taken(line: str, name: str, value: str) -> None:
    assert decided(line).settings[name] == value


def test_settings_that_recovery_insists_on_are_never_smaller_than_anywhere() -> None:
    found = decided(
        "max_connections = 7",
        settings={"max_connections": "300", "max_prepared_transactions": "900"},
        control={"max_connections": 200, "max_worker_processes": 64, "max_wal_senders": 3},
    ).settings
    assert found["max_connections"] == "300"
    assert found["max_prepared_transactions"] == "900"
    assert found["max_worker_processes"] == "64"
    assert found["max_wal_senders"] == "10"


def test_only_a_server_that_waits_can_be_read_while_it_recovers() -> None:
    assert decided().settings["hot_standby"] == "off"
    assert decided(action=Action.PAUSE).settings["hot_standby"] == "on"


@pytest.mark.parametrize(
    ("free", "buffers"),
    [(0, "16MB"), (64 * MIB, "16MB"), (2 * GIB, "256MB"), (512 * GIB, "512MB")],
)
def test_memory_fits_the_machine(free: int, buffers: str) -> None:
    assert decided(free=free).settings["shared_buffers"] == buffers


def test_sizes_of_wal_are_ones_that_a_server_accepts() -> None:
    found = decided(segment_size=GIB).settings
    assert (found["min_wal_size"], found["max_wal_size"]) == ("2048MB", "4096MB")


def test_settings_of_later_versions_are_left_out_before() -> None:
    assert decided(major=17).settings["event_triggers"] == "off"
    assert "event_triggers" not in decided(major=15).settings


def test_what_the_caller_wants_wins() -> None:
    assert decided(work_mem="1GB", fsync="on").settings["fsync"] == "on"


def test_libraries_are_loaded_where_tables_may_need_them() -> None:
    wanted = 'timescaledb, pg_stat_statements,"$libdir/pg_cron", /opt/mine.so'
    assert choose_libraries(wanted, {"timescaledb", "pg_cron", "pg_stat_statements"}) == (
        ["timescaledb"],
        [
            "pg_cron is not loaded: it would start work of its own",
            "mine is not loaded: it is not installed here",
        ],
    )
    found = decided(settings={"shared_preload_libraries": "timescaledb"})
    assert (found.settings["shared_preload_libraries"], found.notes) == ("timescaledb", ())
