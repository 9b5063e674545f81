"""pgkeep alert: what it sends, says, and puts on record, and what it keeps to itself."""

import shutil
from pathlib import Path

import pytest

from pgkeep.repository.acts.act import ALERT_TEST, Outcome
from pgkeep.repository.acts.storing import acts
from support.channels import mail_server, refusing_server, webhook
from support.command import run_pgkeep
from support.golden_repository import open_golden
from support.service import Service
from support.wait import wait_for

GOLDEN = max((Path(__file__).parents[1] / "golden" / "repositories").glob("v*/plain"))
SECRET = "hunter2-very-secret"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "plain"))


def write_config(repository: Path, channels: str, alerts: str = "") -> Path:
    config = repository.parent / "pgkeep.toml"
    config.write_text(
        f'timezone = "Europe/Berlin"\n[repository]\nurl = "{repository}"\n'
        f"[clusters.main]\n[alerts]\n{alerts}\n{channels}"
    )
    config.chmod(0o600)
    return config


def channel(name: str, url: str, more: str = "") -> str:
    return f'[[alerts.channels]]\nname = "{name}"\nurl = "{url}"\n{more}\n'


def test_a_test_tells_what_arrived_and_what_did_not(repository: Path) -> None:
    with mail_server() as box, webhook() as hook, refusing_server() as refuses:
        mail = f"mailto://127.0.0.1:{box.port}?from=pgkeep@example.com&to=dba@example.com"
        config = write_config(
            repository,
            channel("mail", mail)
            + channel("hook", f"json://127.0.0.1:{hook.port}/{SECRET}")
            + channel("gone", f"json://127.0.0.1:{refuses}/{SECRET}"),
        )
        done = run_pgkeep("alert", "test", config=config)
        alone = run_pgkeep("--json", "alert", "test", "hook", config=config).ok()
    assert done.exit == 3
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0].split() for line in lines if line[:2] in ("ok", "fa")] == [
        ["ok", "mail"],
        ["ok", "hook"],
        ["failed", "gone"],
    ]
    assert "then: pgkeep alert test gone" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert box.mails[0]["Subject"].startswith("pgkeep: test from ")
    assert [post["title"] for post in hook.posts] == [box.mails[0]["Subject"]] * 2
    assert alone.json["ok"]
    assert [one["name"] for one in alone.json["channels"]] == ["hook"]
    found = acts(open_golden(repository).repository, what=ALERT_TEST).found
    assert sorted((one.outcome, one.facts["channels"]) for one in found) == [
        (Outcome.DONE, "hook"),
        (Outcome.DONE, "mail, hook"),
        (Outcome.FAILED, "gone"),
    ]


def test_a_list_says_who_hears_what_and_no_address(repository: Path) -> None:
    config = write_config(
        repository,
        channel("mail", f"mailtos://me:{SECRET}@example.com", 'quiet = ["22:00-07:00"]')
        + '[[alerts.channels]]\nname = "pager"\nurl_file = "/etc/pgkeep/pager.url"\n'
        + 'levels = ["critical"]\nclusters = ["main"]\n',
        f'ping = "https://hc.example.com/{SECRET}"\n',
    )
    text = run_pgkeep("alert", "list", config=config).ok()
    rows = [line.split() for line in text.stdout.splitlines()]
    assert ["mail", "mailtos", "critical,", "warning,", "digest", "all", "22:00-07:00"] in rows
    assert ["pager", "in", "/etc/pgkeep/pager.url", "critical", "main", "never"] in rows
    found = run_pgkeep("--json", "alert", "list", config=config).ok()
    assert [one["service"] for one in found.json["channels"]] == [
        "mailtos",
        "in /etc/pgkeep/pager.url",
    ]
    assert found.json["ping"]
    assert SECRET not in text.stdout + text.stderr + found.stdout + found.stderr


def test_nobody_is_told_without_channels(repository: Path) -> None:
    config = write_config(repository, "")
    assert "nobody is told" in run_pgkeep("alert", "list", config=config).ok().stdout
    done = run_pgkeep("alert", "test", "pager", config=config)
    assert done.exit != 0
    assert "the config has no [[alerts.channels]]" in done.stderr


def test_the_service_tells_at_once_and_status_says_which_channel_fails(repository: Path) -> None:
    with webhook() as hook, refusing_server() as refuses:
        config = write_config(
            repository,
            channel("hook", f"json://127.0.0.1:{hook.port}")
            + channel("gone", f"json://127.0.0.1:{refuses}/{SECRET}"),
        )
        # A repository that is away: critical, whatever else there is.
        repository.rename(repository.parent / "away")
        state = repository.parent / "state"
        with config.open("a") as text:
            text.write(f'[service]\nstate_directory = "{state}"\n')
        service = Service(config, state)
        try:
            service.start()
            wait_for(lambda: hook.posts, 60, "a message")
            title = hook.posts[0]["title"]
            wait_for(lambda: "gone fails" in service.run("status").stderr, 60, service.said)
            found = service.run("status", "--json").json
        finally:
            service.stop()
    assert title.startswith("pgkeep: CRITICAL: main: ")
    assert "  do:    is " in hook.posts[0]["message"]
    assert [one.split(" since ")[0] for one in found["troubles"]] == ["alert channel gone fails"]
    assert SECRET not in service.said + str(found)
