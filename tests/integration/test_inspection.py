"""What the adviser measures of a live cluster, of each version."""

from pathlib import Path

from pgkeep.advise.inspection import inspect_server
from pgkeep.advise.recorded import Recorded
from pgkeep.server.scratch import ScratchCluster
from pgkeep.server.session import Session
from support.clusters import NewCluster, only

RECORD = Recorded(backups=3, days=2.0, wal_per_day=5e9)  # so that no seconds are spent on sampling


def test_a_cluster_is_measured(pg: ScratchCluster) -> None:
    pg.sql("CREATE TABLE orders (id int)")
    with Session.connect(pg.conninfo) as session:
        found = inspect_server(session, RECORD)
    assert found.version.startswith(str(found.major))
    assert found.size == int(pg.value("SELECT sum(pg_database_size(oid)) FROM pg_database"))
    assert (found.unseen, found.replicas, found.standby) == (0, 0, False)
    assert (found.checksums, found.archiving, found.service) == (True, False, None)
    assert found.wal_to_plan_for == 5e9
    assert found.wal_source == "by 3 backups on record, over 2 d"


@only(18)
def test_what_the_role_may_not_see_is_counted(pg: ScratchCluster) -> None:
    pg.sql("CREATE DATABASE secret")
    pg.sql("REVOKE CONNECT ON DATABASE secret FROM PUBLIC")
    pg.sql("CREATE ROLE app LOGIN")
    with Session.connect(f"{pg.conninfo} user=app") as session:
        found = inspect_server(session, RECORD)
    assert found.unseen == 1
    assert 0 < found.size < int(pg.value("SELECT sum(pg_database_size(oid)) FROM pg_database"))


@only(18)
def test_a_standby_is_measured_by_what_it_replays(new_cluster: NewCluster, tmp_path: Path) -> None:
    primary = new_cluster()
    copy = tmp_path / "standby"
    primary.server_tool(
        "pg_basebackup", "-d", primary.conninfo, "-D", str(copy), "--write-recovery-conf"
    )
    with (
        ScratchCluster.over(primary.binaries, copy) as standby,
        Session.connect(standby.conninfo) as session,
    ):
        found = inspect_server(session)
    assert found.standby
    assert found.wal_source.startswith("over ")  # its own statistics count none of it
