"""The runbook: nothing in it is invented or secret, and it says what is not known."""

import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pgkeep.app import App
from pgkeep.checklist.judge import QUARTER
from pgkeep.config.shown import fingerprint, toml, without_secrets
from pgkeep.config.whole import read_config
from pgkeep.runbook.facts import Facts, Measured, Place, Server, Slot, Thing
from pgkeep.runbook.html import html
from pgkeep.runbook.look import look
from pgkeep.runbook.markdown import markdown
from pgkeep.runbook.page import Step
from pgkeep.runbook.write import GOOD_FOR, runbook
from pgkeep.server.connecting import redacted
from support.typed import demand_valid

NOW = datetime(2026, 11, 28, 5, tzinfo=UTC)
LOCAL = Place("local", "/var/lib/pgkeep", "", "the disk it is on", True, "the file /etc/pass",
              (Slot("0c29a1f2", "recovery", "safe <A>", NOW),))  # fmt: skip
AWAY = Place("offsite", "s3://backups/shop?region=eu-central-1", "Oslo", "the bucket's key", True,
             "the file /etc/pass", locks=True)  # fmt: skip
RICH = Facts(
    cluster="shop",
    written_at=NOW,
    host="db1",
    user="root",
    version="0.1.0",
    python="3.13.1",
    config_file="/etc/pgkeep/pg keep.toml",
    config_text='[repository]\nurl = "/var/lib/pgkeep"\n',
    places=(LOCAL, AWAY),
    server=Server(
        "as it said itself on db1",
        "18.1",
        "/srv/pg data/18",
        5433,
        config_file="/etc/pg/18/postgresql.conf",
        programs="/usr/lib/postgresql/18/bin",
        owner="postgres",
        databases=("shop", "a|b`*<i>"),
        tablespaces=("/fast/ts",),
        size=44 << 30,
    ),
    restorable_from=NOW.replace(day=14),
    restorable_to=NOW,
    backup=Thing("20261128T020000Z-7f3a", NOW, 44 << 30),
    dump=Thing("D20261128T040000Z-7f3a", NOW, 20 << 30),
    measured=Measured("20261102T060000.000000Z-953a65ff", NOW.replace(day=2), "20261101T020000Z-1",
                      44 << 30, 200.0, 50.0, 252.0),
)  # fmt: skip
POOR = replace(
    RICH,
    places=(replace(LOCAL, name="", encrypted=None, slots=(), trouble="cannot read it"),),
    server=Server("nobody could be asked", "unknown", ""),
    restorable_from=None,
    restorable_to=None,
    backup=None,
    dump=None,
    measured=None,
    troubles=("cannot connect to PostgreSQL",),
)


@pytest.mark.parametrize("facts", [RICH, POOR], ids=["rich", "poor"])
def test_every_command_is_one_that_pgkeep_knows(facts: Facts) -> None:
    lines = [line for line in runbook(facts).commands() if line.startswith("pgkeep ")]
    assert len(lines) > 30
    for line in lines:
        demand_valid(line)


def test_an_invented_option_would_be_noticed() -> None:
    for line in ("pgkeep restore --target-dir x --magic", "pgkeep undo", "pgkeep fly",
                 "pgkeep --cluster x key test --file"):  # fmt: skip
        with pytest.raises(Exception, match=r"(?i)no such|missing|requires an argument"):
            demand_valid(line)


def test_there_is_a_section_for_every_kind_of_disaster() -> None:
    page = runbook(RICH)
    assert [section.key for section in page.sections] == [
        "what-happened", "table-dropped", "database-dropped", "bad-migration",
        "data-directory-lost", "pages-corrupt", "server-dead", "site-lost", "ransomware",
        "repository-damaged", "key-lost", "config-lost", "promotion", "upgrade", "needed", "config",
        "repositories", "state", "people",
    ]  # fmt: skip
    text = markdown(page)
    for told in (
        "/srv/pg data/18", "5433", "18.1", "'/etc/pgkeep/pg keep.toml'", "Oslo", "0c29a1f2",
        "s3://backups/shop?region=eu-central-1&versions=before:MOMENT",
        "mv /fast/ts /fast/ts.broken", "44 GiB", "by 2027-02-28 at the latest",
        "-o '-c config_file=/etc/pg/18/postgresql.conf' start",
        "4 min 12 s for 44 GiB at the drill of 2026-11-02 (writing 3 min 20 s, replaying WAL 50 s)",
        "20261102T060000.000000Z-953a65ff",
    ):  # fmt: skip
        assert told in text, told


def test_what_is_not_known_is_said() -> None:
    text = markdown(runbook(POOR))
    assert "NOTHING could be restored" in text
    assert "NOT ALL could be asked: cannot connect to PostgreSQL." in text
    assert "not measured: run pgkeep drill" in text
    assert "NO repository is known to be at another site" in text
    assert "NO repository of this cluster locks its objects" in text
    assert "There is no other copy to mend it from." in text
    assert "NEVER: how long a restore takes is not known" in text
    assert "at the drill of" not in text


def test_times_that_nobody_measured_are_called_guesses() -> None:
    for facts in (RICH, POOR):
        steps = [block for section in runbook(facts).sections for block in section.blocks
                 if isinstance(block, Step) and block.takes]  # fmt: skip
        assert len(steps) > 40
        for step in steps:
            measured = "at the drill of" in step.takes
            assert measured or step.takes.startswith(("a guess", "not measured")), step


def test_the_page_is_good_for_as_long_as_the_checklist_says() -> None:
    assert GOOD_FOR == QUARTER


class Tags(HTMLParser):
    """Collects the tags of a page, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert all(name not in ("src", "onclick") for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_html_page_needs_nothing_else_and_names_cannot_become_markup() -> None:
    page, tags = html(runbook(RICH)), Tags()
    tags.feed(page)
    assert tags.open == []
    assert not tags.seen & {"script", "img", "link", "i"}
    assert "a|b`*&lt;i&gt;" in page
    assert "safe &lt;A&gt;" in page
    assert "default-src 'none'" in page


def test_commands_in_html_are_those_of_the_page_one_to_a_line() -> None:
    page = runbook(RICH)
    lines = re.findall(r"<code>(.*?)</code>", html(page))
    assert [unescape(re.sub("</?b>", "", line)) for line in lines] == list(page.commands())
    assert "<b>--dry-run</b>" in html(page)  # no line ends with its hyphens


def test_in_markdown_neither() -> None:
    text = markdown(runbook(RICH))
    assert r"a\|b\`\*\<i\>" in text
    nasty = replace(RICH, config_text="a = '''\n```\n# no heading\n'''\n")
    assert "````toml\n" in markdown(runbook(nasty))


CONFIG = """
[[repository]]
name = "local"
url = "REPOSITORY"
encryption = "passphrase"
passphrase_command = "echo open sesame"

[[repository]]
name = "away"
url = "s3://bucket/pgkeep"
credentials_file = "keys"
proxy = "http://me:hunter2@proxy.example.com:3128"

[clusters."main"]
conninfo = "host=/nowhere user=backup password='s3cr et' dbname=postgres"
jobs = 2

[clusters.main.drill]
may_be_empty = ["a.b.c"]

[[clusters.main.drill.checks]]
query = "SELECT 'it''s \\"quoted\\" \\\\ here'"

[dump.masks]
"shop.public.users.email" = "null"

[alerts]
ping = "https://hc.example.com/ping/tellnoone"

[[alerts.channels]]
name = "mail"
url = "mailtos://me:hunter2@example.com"
"""
SECRETS = ("s3cr", "hunter2", "sesame", "tellnoone")


def test_the_config_is_shown_whole_without_secrets_and_can_be_read_again() -> None:
    table = tomllib.loads(CONFIG)
    shown = without_secrets(table, redacted)
    text = toml(shown)
    assert tomllib.loads(text) == shown
    again = read_config(tomllib.loads(text), "it", text)
    assert "host=/nowhere" in again.clusters["main"].conninfo.reveal()
    assert again.clusters["main"].drill.checks[0].query == "SELECT 'it''s \"quoted\" \\ here'"
    for secret in ("s3cr", "hunter2", "tellnoone"):
        assert secret not in text
    other = CONFIG.replace("hunter2", "hunter3").replace("tellnoone", "tellsomebody")
    assert fingerprint(tomllib.loads(other)) == fingerprint(table)
    assert fingerprint(tomllib.loads(CONFIG.replace("jobs = 2", "jobs = 3"))) != fingerprint(table)


def test_with_everything_away_a_page_is_written_all_the_same(tmp_path: Path) -> None:
    config = tmp_path / "pgkeep.toml"
    config.write_text(CONFIG.replace("REPOSITORY", str(tmp_path / "gone")).replace("s3://", "/"))
    config.write_text(
        "\n".join(
            line
            for line in config.read_text().splitlines()
            if not line.startswith(("credentials_file", "proxy"))
        )
    )
    page = runbook(look(App(str(config)), NOW))
    for text in (markdown(page), html(page)):
        assert "NOT ALL could be asked" in text
        assert not [secret for secret in SECRETS if secret in text]
    assert "the command (not shown)" in markdown(page)
