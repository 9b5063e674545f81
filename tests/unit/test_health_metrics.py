"""Metrics: what a scraper reads, and that rules and dashboard name only what there is."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from pgkeep.health.condition import Kind, Level
from pgkeep.health.health import Health, State
from pgkeep.health.metrics import Ran, metrics
from support.healths import a_condition, a_health
from support.shelves import NOW

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCS = Path(__file__).parents[2] / "docs" / "monitoring.md"
LATER = NOW + timedelta(seconds=22)
EVERYTHING = a_health(
    conditions=(a_condition(), a_condition(), a_condition(Kind.CLOCK_OFF, Level.WARNING))
)
RAN = [
    Ran("shop", "backup", True, 90.0, NOW - timedelta(hours=1)),
    Ran("shop", "backup", False, 95.0, NOW),
    Ran("shop", "drill", True, 250.0, NOW - timedelta(days=1)),
]


def samples(*healths: Health, ran: list[Ran] | None = None) -> dict[str, float]:
    """Return {'name{a="b",c="d"}': value} as Prometheus' own parser reads it."""
    text = metrics(healths, ran or [], LATER).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            assert f"{sample.name}{{{labels}}}" not in found
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def names(*healths: Health, ran: list[Ran] | None = None) -> set[str]:
    return {sample.partition("{")[0] for sample in samples(*healths, ran=ran)}


def test_what_is_known_is_told_in_base_units() -> None:
    found = samples(EVERYTHING, ran=RAN)
    shop = '{cluster="shop"}'
    assert found[f"pgkeep_restorable_age_seconds{shop}"] == 60.0  # 38 s, and 22 s since the look
    assert found[f"pgkeep_drill_age_seconds{shop}"] == 2 * 86400 + 22
    assert found[f"pgkeep_wal_behind_bytes{shop}"] == 1 << 20
    assert found[f"pgkeep_wal_behind_seconds{shop}"] == 38.0
    assert found[f"pgkeep_pg_wal_full_seconds{shop}"] == 7200.0
    assert found[f"pgkeep_restore_estimate_seconds{shop}"] == 260.0
    assert found['pgkeep_objective_seconds{cluster="shop",objective="rpo"}'] == 60.0
    assert found['pgkeep_cluster_state{cluster="shop",state="protected"}'] == 1.0
    assert found['pgkeep_cluster_state{cluster="shop",state="unknown"}'] == 0.0
    room = '{cluster="shop",repository="main"}'
    assert found[f"pgkeep_repository_free_bytes{room}"] == 1 << 40
    assert found[f"pgkeep_repository_full_seconds{room}"] == 3600 - 22


def test_conditions_are_counted_by_kind_and_level() -> None:
    found = {name: value for name, value in samples(EVERYTHING).items() if "_conditions" in name}
    assert found == {
        'pgkeep_conditions{cluster="shop",kind="wal-hole",level="critical"}': 2.0,
        'pgkeep_conditions{cluster="shop",kind="clock-off",level="warning"}': 1.0,
    }


def test_of_jobs_the_newest_of_each_kind_counts() -> None:
    found = samples(a_health(), ran=RAN)
    backup = '{cluster="shop",kind="backup"}'
    assert found[f"pgkeep_job_good{backup}"] == 0.0
    assert found[f"pgkeep_job_duration_seconds{backup}"] == 95.0
    assert found[f"pgkeep_job_ended_timestamp_seconds{backup}"] == NOW.timestamp()
    assert found['pgkeep_job_good{cluster="shop",kind="drill"}'] == 1.0


def test_no_label_has_a_name_that_prometheus_gives_itself() -> None:
    for sample in samples(EVERYTHING, ran=RAN):
        assert not re.search(r"\b(job|instance)=", sample), "it would become exported_..."


def test_what_is_not_known_is_absent_and_never_zero() -> None:
    nothing = Health("shop", State.UNKNOWN, NOW, None, None, None)
    assert names(nothing) == {
        "pgkeep_up",
        "pgkeep_looked_at_timestamp_seconds",
        "pgkeep_cluster_state",
    }
    assert names() == {"pgkeep_up"}


def test_names_that_people_chose_cannot_forge_a_sample() -> None:
    evil = 'a"} 1\npgkeep_up{version="\\'
    found = samples(a_health(evil))
    assert len([name for name in found if name.startswith("pgkeep_up")]) == 1
    (family,) = (
        family
        for family in text_string_to_metric_families(metrics([a_health(evil)], [], NOW).decode())
        if family.name == "pgkeep_wal_behind_bytes"
    )
    assert family.samples[0].labels == {"cluster": evil}


def test_two_hundred_clusters_are_told_at_once() -> None:
    found = samples(*(a_health(f"cluster{number}") for number in range(200)))
    assert len([name for name in found if name.startswith("pgkeep_restorable_age")]) == 200


# What is shipped


def named(text: str) -> set[str]:
    return set(re.findall(r"\bpgkeep_[a-z_]+", text))


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus/pgkeep.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_rules_name_only_metrics_labels_and_kinds_that_there_are() -> None:
    there = names(EVERYTHING, ran=RAN)
    for rule in rules():
        assert named(rule["expr"]) or "up{" in rule["expr"], rule  # `up` is Prometheus' own
        assert named(rule["expr"]) <= there, rule["alert"]
        assert rule["labels"]["severity"] in set(Level)
        assert rule["annotations"].keys() == {"summary", "description"}
    every = " ".join(samples(EVERYTHING, ran=RAN))
    for rule in rules():
        for label in re.findall(r"\$labels\.(\w+)", json.dumps(rule)):
            assert f'{label}="' in every, rule["alert"]
        for name, value in re.findall(r'(state|level|objective)="([^"]+)"', rule["expr"]):
            assert f'{name}="{value}"' in every, rule["alert"]


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    board = json.loads((DEPLOY / "grafana/pgkeep.json").read_text())
    shown = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in named(target["expr"])
    }
    assert shown == names(EVERYTHING, ran=RAN)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_page_describes_every_metric_and_no_other() -> None:
    assert named(DOCS.read_text()) == names(EVERYTHING, ran=RAN)
