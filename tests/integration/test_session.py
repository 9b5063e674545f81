"""Sessions with real servers: facts, backups, privileges, and what is said when it goes wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.errors import PgkeepError
from pgkeep.model.lsn import Lsn
from pgkeep.server import privileges
from pgkeep.server.connecting import (
    BadConninfo,
    CannotConnect,
    DatabaseMissing,
    LoginRefused,
    NoHbaEntry,
    RoleMissing,
    ServerDown,
    ServerNotReady,
    TooManyConnections,
    connect,
    redacted,
)
from pgkeep.server.privileges import MissingPrivilege
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import BackupSessionLost, QueryFailed, Session, SessionLost
from support.clusters import NewCluster, only
from support.wait import wait_for

ROLE_SCRIPT = Path(__file__).parents[2] / "docs" / "pgkeep-role.sql"


def as_role(cluster: ScratchCluster, role: str = "pgkeep") -> Session:
    return Session.connect(cluster.conninfo.replace("user=postgres", f"user={role}"))


def test_a_server_describes_itself(
    new_cluster: NewCluster, postgres_version: int, tmp_path: Path
) -> None:
    cluster = new_cluster(settings={"archive_mode": "on", "archive_command": "exit 1"})
    place = tmp_path / "space"
    place.mkdir()
    cluster.sql(f"CREATE TABLESPACE space LOCATION '{place}'")
    cluster.sql("CREATE DATABASE shop")
    with Session.connect(cluster.conninfo) as session:
        facts = session.facts()
        short = session.facts(lists=False)
    assert (short.generation, short.settings) == (facts.generation, facts.settings)
    assert short.identity._replace(clock=facts.clock) == facts.identity
    assert (short.included_files, short.databases, short.extensions) == ((), (), ())
    assert facts.version == cluster.binaries.version
    assert facts.major == postgres_version
    assert facts.system_identifier == cluster.value(
        "SELECT system_identifier FROM pg_control_system()"
    )
    assert facts.data_directory == str(cluster.data_directory)
    assert (facts.segment_size, facts.block_size, facts.timeline) == (1 << 20, 8192, 1)
    assert (facts.wal_level, facts.archive_mode, facts.archive_command) == (
        "replica",
        "on",
        "exit 1",
    )
    assert (facts.archiving, facts.data_checksums, facts.full_page_writes) == (True, True, True)
    assert (facts.in_recovery, facts.summarize_wal, facts.timezone) == (False, False, "UTC")
    assert abs(facts.clock - datetime.now(UTC)) < timedelta(minutes=1)
    assert {d.name for d in facts.databases} == {"postgres", "template0", "template1", "shop"}
    shop = next(d for d in facts.databases if d.name == "shop")
    assert (shop.encoding, shop.collate, shop.provider) == ("UTF8", "C.UTF-8", "libc")
    assert [(e.database, e.name) for e in facts.extensions] == [("postgres", "plpgsql")]
    assert [(t.name, t.path) for t in facts.tablespaces] == [("space", str(place))]
    assert facts.outside_files() == {}
    assert facts.recovery_settings()["max_connections"] == "30"


@only(15, 18)
def test_checksums_off_and_big_segments(new_cluster: NewCluster) -> None:
    cluster = new_cluster(checksums=False, wal_segsize=None)
    with Session.connect(cluster.conninfo) as session:
        facts = session.facts()
    assert facts.data_checksums is False
    assert facts.segment_size == 16 << 20
    assert facts.archive_command == ""
    assert facts.archiving is False


@only(15, 18)
def test_configuration_outside_is_found(new_cluster: NewCluster, tmp_path: Path) -> None:
    cluster = new_cluster(start=False)
    outside = tmp_path / "etc"
    outside.mkdir()
    (outside / "extra.conf").write_text("work_mem = '5MB'\n")
    (cluster.data_directory / "pg_hba.conf").rename(outside / "hba.conf")
    with (cluster.data_directory / "postgresql.conf").open("a") as conf:
        conf.write(f"hba_file = '{outside}/hba.conf'\ninclude '{outside}/extra.conf'\n")
    cluster.start()
    with Session.connect(cluster.conninfo) as session:
        assert session.facts().outside_files() == {
            "hba_file": str(outside / "hba.conf"),
            "include_1": str(outside / "extra.conf"),
        }


def test_a_backup_is_bracketed(pg: ScratchCluster) -> None:
    with Session.connect(pg.conninfo) as session:
        start = session.start_backup("nightly\nbackup")
        session.ping()
        pg.sql("CREATE TABLE written_meanwhile AS SELECT 1")
        stop = session.stop_backup()
    assert start.lsn < stop.lsn
    assert start.time < stop.time
    assert (start.timeline, stop.timeline) == (1, 1)
    lines = stop.label_file.splitlines()
    assert lines[0].startswith(f"START WAL LOCATION: {start.lsn} (file ")
    assert "LABEL: nightly backup" in lines
    assert stop.tablespace_map == ""


@only(18)
def test_a_label_of_any_length_and_script_is_taken(pg: ScratchCluster) -> None:
    with Session.connect(pg.conninfo) as session:
        session.start_backup("é" * 2000)
        label = session.stop_backup().label_file
    assert "LABEL: " + "é" * 512 + "\n" in label


@only(18)
def test_the_tablespace_map_is_returned(pg: ScratchCluster, tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    pg.sql(f"CREATE TABLESPACE space LOCATION '{tmp_path}/space'")
    with Session.connect(pg.conninfo) as session:
        session.start_backup("x")
        assert session.stop_backup().tablespace_map.endswith(f" {tmp_path}/space\n")


def test_a_lost_session_is_a_lost_backup(pg: ScratchCluster) -> None:
    with Session.connect(pg.conninfo) as session:
        session.start_backup("x")
        pg.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'pgkeep'"
        )
        with pytest.raises(BackupSessionLost) as lost:
            session.ping()
        with pytest.raises(BackupSessionLost):
            session.stop_backup()
    assert str(lost.value) == (
        "no backup was made: the session that held it was lost: "
        "terminating connection due to administrator command"
    )


@only(15, 18)
def test_a_crash_is_a_lost_backup(pg: ScratchCluster) -> None:
    with Session.connect(pg.conninfo) as session:
        session.start_backup("x")
        pg.kill9()
        with pytest.raises(BackupSessionLost):
            session.stop_backup()


@only(18)
def test_a_lost_session_without_a_backup(pg: ScratchCluster) -> None:
    with Session.connect(pg.conninfo) as session:
        pg.stop("immediate")
        with pytest.raises(SessionLost, match="cannot end a WAL segment: the connection to the"):
            session.switch_wal()


@only(18)
def test_stopping_without_starting_is_refused(pg: ScratchCluster) -> None:
    with Session.connect(pg.conninfo) as session, pytest.raises(QueryFailed) as refused:
        session.stop_backup()
    assert str(refused.value) == (
        "cannot end a backup: the server says: backup is not in progress (SQLSTATE 55000)"
    )


@only(15, 18)
def test_nothing_times_a_session_out(pg: ScratchCluster) -> None:
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    names += ["idle_session_timeout"]
    names += ["transaction_timeout"] if pg.binaries.major >= 17 else []
    for name in names:
        pg.sql(f"ALTER ROLE postgres SET {name} = '10min'")
    with Session.connect(pg.conninfo) as session:
        for name in names:
            assert session.query(f"SHOW {name}".encode()) == [("0",)]


def test_wal_is_switched_and_marked(pg: ScratchCluster) -> None:
    with Session.connect(pg.conninfo) as session:
        before = session.current_lsn()
        marked = session.create_restore_point("before_migration")
        switched = session.switch_wal()
        assert Lsn(0) < before < marked <= switched
        assert session.insert_lsn() >= switched
        session.checkpoint()


def test_the_archiver_is_watched(new_cluster: NewCluster) -> None:
    cluster = new_cluster(settings={"archive_mode": "on", "archive_command": "exit 1"})
    name = cluster.switch_wal()
    with Session.connect(cluster.conninfo) as session:
        assert session.ready_count() == 1
        wait_for(lambda: session.archiver_stats().failed_count)
        stats = session.archiver_stats()
        assert (stats.archived_count, stats.last_failed_wal) == (0, name)
        cluster.sql("ALTER SYSTEM SET archive_command = 'true'")
        cluster.sql("SELECT pg_reload_conf()")
        cluster.switch_wal()
        wait_for(lambda: session.archiver_stats().archived_count == 2)
        wait_for(lambda: session.ready_count() == 0)


def test_a_standby_describes_itself(new_cluster: NewCluster, tmp_path: Path) -> None:
    primary = new_cluster()
    copy = tmp_path / "standby"
    primary.server_tool(
        "pg_basebackup", "-d", primary.conninfo, "-D", str(copy), "--write-recovery-conf"
    )
    with ScratchCluster.over(primary.binaries, copy) as standby:
        with Session.connect(standby.conninfo) as session:
            facts = session.facts()
            assert (facts.in_recovery, facts.timeline) == (True, 1)
            assert session.current_lsn() > 0
            with pytest.raises(QueryFailed, match="recovery is in progress"):
                session.switch_wal()
            session.start_backup("from a standby")
            assert "BACKUP FROM: standby" in session.stop_backup().label_file
        standby.value("SELECT pg_promote()")
        with Session.connect(standby.conninfo) as session:
            facts = session.facts()
            assert (facts.in_recovery, facts.timeline) == (False, 2)
            assert session.start_backup("after the promotion").timeline == 2


@only(18)
def test_extensions_of_all_databases(pg: ScratchCluster) -> None:
    pg.sql("CREATE DATABASE shop")
    pg.sql("CREATE EXTENSION amcheck", dbname="shop")
    with Session.connect(pg.conninfo) as session:
        found, closed = session.all_extensions(["postgres", "shop", "template0"])
    assert {(e.database, e.name) for e in found} == {
        ("postgres", "plpgsql"),
        ("shop", "plpgsql"),
        ("shop", "amcheck"),
    }
    assert closed == ["template0"]


def test_scenario_95_the_documented_role_suffices(pg: ScratchCluster) -> None:
    pg.tool("psql", "-v", "ON_ERROR_STOP=1", "-f", str(ROLE_SCRIPT))
    pg.tool("psql", "-v", "ON_ERROR_STOP=1", "-f", str(ROLE_SCRIPT))  # may be repeated
    with as_role(pg) as session:
        assert privileges.check(session) == []
        assert session.facts().identity.is_superuser is False
        use_everything(session)
        with pytest.raises(MissingPrivilege) as missing:
            session.checkpoint()
    assert missing.value.hint.endswith(": GRANT pg_checkpoint TO pgkeep;")


def use_everything(session: Session) -> None:
    session.facts()
    session.start_backup("x")
    session.stop_backup()
    session.switch_wal()
    session.create_restore_point("x")
    assert session.ready_count() == 0
    session.archiver_stats()


def test_scenario_95_each_missing_grant_is_named(pg: ScratchCluster, postgres_version: int) -> None:
    pg.tool("psql", "-v", "ON_ERROR_STOP=1", "-f", str(ROLE_SCRIPT))
    for privilege in privileges.needed(postgres_version):
        grant = privilege.sql("pgkeep")
        pg.sql(grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
        with as_role(pg) as session:
            expected = MissingPrivilege(privilege.purpose, "pgkeep", "postgres", grant)
            assert [m.facts() for m in privileges.check(session)] == [expected.facts()]
            if privilege is privileges.ARCHIVE_STATUS:
                assert session.ready_count() is None
            else:
                with pytest.raises(MissingPrivilege) as missing:
                    use_everything(session)
                assert missing.value.facts() == expected.facts()
        pg.sql(grant)
    assert str(expected).endswith("role pgkeep lacks a privilege in database postgres")
    assert expected.hint == f"run as a superuser in database postgres: {grant}"


def test_a_strange_role_name_is_quoted() -> None:
    assert privileges.SWITCH_WAL.sql('back"Up') == (
        'GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO "back""Up";'
    )


SECRET = "s3cret-Passw0rd"


@pytest.fixture
def guarded(new_cluster: NewCluster) -> ScratchCluster:
    """A server with a password for bob, a role without login, and a closed database."""
    cluster = new_cluster(
        settings={"max_connections": 6, "superuser_reserved_connections": 1, "max_wal_senders": 2}
    )
    for statement in (
        f"CREATE ROLE bob LOGIN PASSWORD '{SECRET}'",
        "CREATE ROLE alice",
        "CREATE DATABASE closed ALLOW_CONNECTIONS false",
        "CREATE ROLE limited LOGIN CONNECTION LIMIT 0",
    ):
        cluster.sql(statement)
    (cluster.data_directory / "pg_hba.conf").write_text(
        "local all postgres,alice,limited,nobody_knows trust\nlocal postgres bob scram-sha-256\n"
    )
    cluster.restart()
    return cluster


@only(15, 18)
@pytest.mark.parametrize(
    ("words", "kind", "why"),
    [
        pytest.param(
            "user=bob password=wrong-Word",
            LoginRefused,
            'password authentication failed for user "bob"',
            id="wrong password",
        ),
        pytest.param(
            "user=bob", LoginRefused, "fe_sendauth: no password supplied", id="no password"
        ),
        pytest.param(
            "user=alice", LoginRefused, 'role "alice" is not permitted to log in', id="no login"
        ),
        pytest.param(
            "user=eve",
            NoHbaEntry,
            'no pg_hba.conf entry for host "[local]", user "eve", database "postgres", '
            "no encryption",
            id="no entry",
        ),
        pytest.param(
            "user=nobody_knows", RoleMissing, 'role "nobody_knows" does not exist', id="no role"
        ),
        pytest.param(
            "dbname=missing", DatabaseMissing, 'database "missing" does not exist', id="no database"
        ),
        pytest.param(
            "dbname=closed",
            DatabaseMissing,
            'database "closed" is not currently accepting connections',
            id="closed database",
        ),
        pytest.param(
            "user=limited",
            TooManyConnections,
            'too many connections for role "limited"',
            id="role limit",
        ),
    ],
)
def test_a_refused_connection_is_explained(
    guarded: ScratchCluster, words: str, kind: type[CannotConnect], why: str
) -> None:
    with pytest.raises(CannotConnect) as refused:
        Session.connect(f"{guarded.conninfo} {words}")
    error = refused.value
    socket = f"{guarded.socket_directory}/.s.PGSQL.{guarded.port}"
    assert type(error) is kind
    assert str(error) == f"cannot connect to PostgreSQL at {socket} as {error.user}: {why}"
    assert error.hint
    assert "wrong-Word" not in repr(error) + str(error) + str(error.facts())


@only(18)
def test_a_full_server_says_so(guarded: ScratchCluster) -> None:
    taken = [guarded.connect() for _ in range(6)]
    with pytest.raises(TooManyConnections, match="too many clients already"):
        Session.connect(guarded.conninfo)
    for connection in taken:
        connection.close()


@only(15, 18)
def test_a_stopped_server_is_named_by_its_address(pg: ScratchCluster) -> None:
    pg.stop()
    with pytest.raises(ServerDown) as down:
        Session.connect(pg.conninfo)
    socket = f"{pg.socket_directory}/.s.PGSQL.{pg.port}"
    assert str(down.value) == (
        f"cannot connect to PostgreSQL at {socket} as postgres: No such file or directory"
    )
    with pytest.raises(ServerDown, match=r"at 127\.0\.0\.1:1 as bob: Connection refused"):
        Session.connect("host=127.0.0.1 port=1 user=bob")


@only(15, 18)
def test_a_server_that_is_recovering_is_not_ready(pg: ScratchCluster) -> None:
    pg.stop()
    (pg.data_directory / "standby.signal").touch()
    pg.configure(hot_standby="off", restore_command="false")
    pg.start(wait=False)

    def refusal() -> ServerNotReady | None:
        try:
            Session.connect(pg.conninfo).close()
        except ServerNotReady as error:
            return error
        except ServerDown:
            return None
        return None

    error = wait_for(refusal)
    assert error is not None
    assert "the database system is" in error.why
    assert error.retryable


@pytest.mark.parametrize(
    "conninfo",
    [
        f"host=/tmp password={SECRET} {SECRET}",
        f"host=/tmp password=x {SECRET}=1",
        f"host=/tmp password='{SECRET}",
        f"postgresql://bob:{SECRET}@h:1/x?{SECRET}=bar",
        f"postgresql://bob:half@{SECRET}@127.0.0.1:1/x",
        f"postgresql://bob:{SECRET}@127.0.0.1:1/x",
        f"postgresql://bob:half@{SECRET}:port@h",
        f"host=127.0.0.1 port=1 user=x password={SECRET}",
    ],
)
def test_no_message_holds_a_password(conninfo: str) -> None:
    with pytest.raises(PgkeepError) as failure:
        connect(conninfo)
    error = failure.value
    assert isinstance(error, BadConninfo | CannotConnect)
    everything = f"{error!r} {error} {error.hint} {error.facts()} {redacted(conninfo)}"
    assert SECRET not in everything
    assert error.__cause__ is None


def test_a_misspelt_option_is_named() -> None:
    with pytest.raises(BadConninfo) as failure:
        connect("hots=/tmp")
    assert str(failure.value) == "cannot read the connection string: there is no option 'hots'"
