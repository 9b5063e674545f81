"""Metrics, alert rules and dashboard, as a real Prometheus takes them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgkeep.api.rights import Role
from pgkeep.api.serving import HttpFace
from pgkeep.health.health import RepositoryRoom
from pgkeep.health.metrics import Ran, metrics
from pgkeep.service.jobs.job import Job, JobRun, JobState
from support.apis import serve
from support.healths import a_condition, a_health
from support.prometheus import Prometheus, prometheus_running, promtool
from support.wait import wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/pgkeep.rules.yml"
STORIES = Path(__file__).with_name("pgkeep.rules.test.yml")
CONFIG = """
rule_files: ["{rules}"]
scrape_configs:
  - job_name: pgkeep
    scrape_interval: 3s
    scrape_timeout: 3s
    static_configs:
      - targets: ["127.0.0.1:{port}"]
    authorization:
      credentials_file: {token}
"""


def alerts() -> set[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def expressions() -> list[str]:
    """Return what the dashboard asks, for all clusters."""
    board = json.loads((DEPLOY / "grafana/pgkeep.json").read_text())
    return [
        target["expr"].replace("$cluster", ".*")
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def test_promtool_takes_rules_and_metrics() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", str(RULES))
    now = datetime.now(UTC)
    health = a_health(conditions=(a_condition(),))
    found = metrics([health], [Ran("shop", "backup", True, 90.0, now)], now)
    assert promtool("check", "metrics", given=found) == ""


def test_every_alert_fires_when_it_must_and_none_while_all_is_well() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(STORIES))
    well, *others = yaml.safe_load(STORIES.read_text())["tests"]

    def told(story: Any) -> dict[str, bool]:
        """Return the alerts that a story expects, and whether they fire."""
        return {one["alertname"]: bool(one["exp_alerts"]) for one in story["alert_rule_test"]}

    assert told(well) == dict.fromkeys(alerts(), False)
    assert {name for story in others for name, fires in told(story).items() if fires} == alerts()


@pytest.fixture
def scraping(tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a service, with a token, as docs/monitoring.md has it."""
    served = serve(tmp_path, 'listen = "127.0.0.1:0"')
    board, now = served.board, datetime.now(UTC)
    room = RepositoryRoom("main", "/repo", 9 << 30, 1 << 40, now + timedelta(hours=1))
    board.put_health(
        a_health("main", looked_at=now, conditions=(a_condition(),), repositories=(room,))
    )
    job = Job("1", "main", "backup", ("backup",), "schedule", now)
    board.ledger.put(JobRun(job, JobState.DONE, now, now + timedelta(seconds=90)))
    _, token = served.users.add_token("prometheus", Role.VIEWER, None)
    (tmp_path / "token").write_text(token)
    face = HttpFace(board)
    face.start()
    assert face.where is not None
    config = CONFIG.format(rules=RULES, port=face.where.port, token=tmp_path / "token")
    with prometheus_running(tmp_path, config) as one:
        yield one
    face.close()
    board.close()


def test_what_the_dashboard_asks_has_answers(scraping: Prometheus) -> None:
    # Again after a scrape that took too long, for then all series are gone until the next.
    for one in expressions():
        wait_for(partial(scraping.query, one), 90, one)
    (backup,) = wait_for(lambda: scraping.query("pgkeep_job_good"), 90)
    names = {name: backup["metric"][name] for name in ("job", "cluster", "kind")}
    assert names == {"job": "pgkeep", "cluster": "main", "kind": "backup"}
    (group,) = scraping.ask("rules")["groups"]
    assert {rule["name"] for rule in group["rules"]} == alerts()
