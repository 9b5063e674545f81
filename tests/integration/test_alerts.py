"""Messages that really arrive, or really do not: by mail, by webhook, at servers that hang."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgkeep.alerts.channels import Delivering
from pgkeep.alerts.memory import Queued
from pgkeep.alerts.ping import Pinger, ping
from pgkeep.alerts.sending import Delivery, Outbox, send
from pgkeep.alerts.telling import FILE, Teller
from pgkeep.alerts.text import Text
from pgkeep.config.sections import ClusterConfig
from pgkeep.config.service import AlertsConfig, ChannelConfig
from pgkeep.config.whole import Config
from pgkeep.config_reader import Secret
from pgkeep.health.health import State
from pgkeep.repository.store.access import RepositoryConfig
from pgkeep.units import Duration
from support.channels import (
    condition,
    hanging_server,
    health,
    mail_server,
    refusing_server,
    webhook,
)
from support.wait import wait_for

TEXT = Text("pgkeep: CRITICAL: shop: nothing is safe", "effect\n  cause: ä\n  do:    pgkeep backup")
SECRET = "hunter2-very-secret"


def channel(url: str, name: str = "one", **options: Any) -> ChannelConfig:
    return ChannelConfig(name=name, url=Secret(url), **options)


def queued(title: str, level: str = "warning", at: datetime | None = None) -> Queued:
    return Queued(title, f"body of {title}", level, at or datetime.now(UTC))


def test_mail_arrives_with_title_and_text() -> None:
    with mail_server() as box:
        url = f"mailto://127.0.0.1:{box.port}?from=pgkeep@example.com&to=dba@example.com"
        assert send(channel(url), TEXT, "critical") == Delivery(True)
    (mail,) = box.mails
    assert mail["Subject"] == TEXT.title
    assert mail["To"] == "dba@example.com"
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert body.decode().replace("\r\n", "\n").strip() == TEXT.body


def test_a_webhook_gets_title_text_and_level() -> None:
    with webhook() as hook:
        outcome = send(channel(f"json://127.0.0.1:{hook.port}/{SECRET}"), TEXT, "critical")
    assert outcome == Delivery(True)
    (post,) = hook.posts
    assert (post["title"], post["message"], post["type"]) == (TEXT.title, TEXT.body, "failure")


def test_an_address_in_a_file_is_read_when_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "hook.url"
    one = ChannelConfig(name="hook", url_file=str(file))
    assert send(one, TEXT, "warning").why.startswith(f"url_file {file} cannot be read: No such")
    with webhook() as hook:
        file.write_text(f"json://127.0.0.1:{hook.port}/\n")
        file.chmod(0o600)
        assert send(one, TEXT, "warning").delivered
    assert len(hook.posts) == 1


def test_one_that_hangs_is_given_up_in_time() -> None:
    with hanging_server() as port:
        began = time.monotonic()
        outcome = send(channel(f"json://127.0.0.1:{port}/{SECRET}"), TEXT, "warning", 1.5)
    assert outcome == Delivery(False, "it did not take the message within 1.5 seconds")
    assert time.monotonic() - began < 30


def test_one_that_refuses_is_named_and_its_secrets_are_not() -> None:
    with refusing_server() as port:
        address = f"json://dba:{SECRET}@127.0.0.1:{port}/{SECRET}?token={SECRET}"
        outcome = send(channel(address), TEXT, "warning")
    assert not outcome.delivered
    assert "Connection refused" in outcome.why
    assert SECRET not in outcome.why


@pytest.mark.parametrize("url", [f"nosuchthing://{SECRET}", f"slack://{SECRET}", "://"])
def test_an_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    outcome = send(channel(url), TEXT, "warning")
    assert not outcome.delivered
    assert "knows no such address" in outcome.why
    assert SECRET not in outcome.why


class Post:
    """A way to deliver that fails as often as it is told to."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.took: list[tuple[str, str]] = []

    def __call__(self, _channel: ChannelConfig, text: Text, level: str, **_: Any) -> Delivery:
        if self.fails:
            self.fails -= 1
            return Delivery(False, "busy")
        self.took.append((text.title, level))
        return Delivery(True)


def test_what_failed_is_tried_again_and_told_as_one_message_the_worst_first() -> None:
    post = Post(fails=2)
    box = Outbox(channel("json://a"), UTC, (), post, first=0.3)
    box.put(queued("a digest", "digest"))
    wait_for(lambda: box.delivering.why == "busy")
    assert box.delivering.failing_since
    box.put(queued("a warning"))
    box.put(queued("the end", "critical"))
    wait_for(lambda: post.took)
    assert post.took == [("the end (and 2 more messages that waited)", "critical")]
    wait_for(lambda: not box.waiting)
    assert box.delivering == Delivering(has_taken=True)
    box.stop()
    box.join(10)


def test_a_queue_is_bounded_and_lets_go_of_what_matters_least() -> None:
    box = Outbox(channel("json://a"), UTC, (), Post(fails=10_000), first=3600)
    box.put(queued("the end", "critical"))
    for number in range(300):
        box.put(queued(f"warning {number}"))
    assert len(box.waiting) == 100
    assert box.waiting[0].title == "the end"
    assert box.waiting[-1].title == "warning 299"
    box.stop()
    box.join(10)


def test_what_is_a_day_old_is_news_no_longer() -> None:
    old = queued("old", at=datetime.now(UTC) - timedelta(days=2))
    box = Outbox(channel("json://a"), UTC, (old,), Post(fails=1), first=3600)
    wait_for(lambda: not box.waiting)
    assert box.delivering.why == "busy"
    box.stop()
    box.join(10)


def config(*channels: ChannelConfig, ping: str = "") -> Config:
    alerts = AlertsConfig(
        channels=channels, digest="never", ping=Secret(ping), ping_every=Duration(300)
    )
    return Config(
        repository=(RepositoryConfig(url="file:///nowhere"),),
        clusters={"shop": ClusterConfig()},
        alerts=alerts,
    )


def test_a_channel_that_hangs_holds_up_nobody_and_its_message_survives(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    found = [health(condition(), at=now)]
    with hanging_server() as port, webhook() as hook:
        hangs = channel(f"json://127.0.0.1:{port}", "hangs")
        works = channel(f"json://127.0.0.1:{hook.port}", "works")
        teller = Teller(config(hangs, works), tmp_path)
        teller.tell(found, now)
        wait_for(lambda: hook.posts)
        wait_for(lambda: _waiting(teller) == {"hangs": 1, "works": 0})
        teller.close()
        assert "127.0.0.1" not in (tmp_path / FILE).read_text()
        assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
        # The next start brings what did not arrive, and tells nothing twice.
        mended = channel(f"json://127.0.0.1:{hook.port}", "hangs")
        again = Teller(config(mended, works), tmp_path)
        again.tell(found, now + timedelta(seconds=30))
        wait_for(lambda: len(hook.posts) == 2)
        wait_for(lambda: _waiting(again) == {"hangs": 0, "works": 0})
        again.close()
    assert len(hook.posts) == 2
    assert hook.posts[0]["title"] == hook.posts[1]["title"]
    assert hook.posts[0]["title"].startswith("pgkeep: CRITICAL: shop: nothing after 11:00")


def _waiting(teller: Teller) -> dict[str, int]:
    return {name: len(box.waiting) for name, box in teller._outboxes.items()}


def test_a_channel_that_fails_is_said(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with refusing_server() as port:
        teller = Teller(config(channel(f"json://127.0.0.1:{port}/{SECRET}", "hook")), tmp_path)
        teller.tell([health(condition(), at=now)], now)
        (trouble,) = wait_for(teller.troubles)
        teller.close()
    assert trouble.startswith("alert channel hook fails since ")
    assert SECRET not in trouble


def test_a_channel_that_fails_is_told_of_by_the_others(tmp_path: Path) -> None:
    """A webhook that answers 500, a mail server that works, a restart between, and the end."""
    began = datetime.now(UTC)
    found = [health(condition(), at=began)]
    with mail_server() as box, webhook() as hook:
        hook.status = 500
        mail = f"mailto://127.0.0.1:{box.port}?from=pgkeep@example.com&to=dba@example.com"
        channels = config(
            channel(f"json://127.0.0.1:{hook.port}/{SECRET}", "hook"), channel(mail, "mail")
        )

        def told() -> list[str]:
            wait_for(lambda: _waiting(teller)["mail"] == 0, 60)
            return [str(one["Subject"]) for one in box.mails]

        teller = Teller(channels, tmp_path, first=0.05)
        teller.tell(found, began)
        wait_for(lambda: teller._outboxes["hook"].delivering.tries >= 3, 60)
        teller.tell(found, began + timedelta(minutes=10))
        teller.tell(found, began + timedelta(minutes=12))
        assert told()[1:] == [
            "pgkeep: warning: alert channel hook takes no messages: whoever is told by it hears "
            "nothing"
        ]
        teller.close()

        teller = Teller(channels, tmp_path, first=0.05)
        wait_for(lambda: teller._outboxes["hook"].delivering.tries >= 1, 60)
        for minutes in (14, 16):  # what a new process does not know yet is not over
            teller.tell(found, began + timedelta(minutes=minutes))
        hook.status = 200
        wait_for(lambda: _waiting(teller) == {"hook": 0, "mail": 0}, 60)
        for minutes in (18, 20):
            teller.tell(found, began + timedelta(minutes=minutes))
        assert told()[2:] == ["pgkeep: over: channel-fails"]
        teller.close()
    body = box.mails[1].get_payload(decode=True)
    assert isinstance(body, bytes)
    assert b"do:    pgkeep alert test hook" in body
    assert SECRET.encode() not in body
    assert [post["title"] for post in hook.posts] == [box.mails[0]["Subject"]]


def test_what_is_remembered_may_be_damaged_and_may_not_be_written(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    (tmp_path / FILE).write_text("{")
    with webhook() as hook:
        one = channel(f"json://127.0.0.1:{hook.port}")
        teller = Teller(config(one), tmp_path)
        teller.tell([health(condition(), at=now)], now)
        wait_for(lambda: hook.posts)
        teller.close()
        nowhere = Teller(config(one), tmp_path / "missing")
        nowhere.tell([health(condition(), at=now)], now)
        wait_for(lambda: len(hook.posts) == 2)
        nowhere.close()


def test_the_ping_stops_when_something_is_unknown_or_was_not_looked_at(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with webhook() as hook:
        teller = Teller(config(ping=f"http://127.0.0.1:{hook.port}/up"), tmp_path)
        teller.tell([], now)
        teller.tell([health(state=State.UNKNOWN, at=now)], now)
        teller.tell([health(at=now - timedelta(hours=1))], now)
        teller.tell([health(condition(), at=now)], now)  # in danger, but seen
        wait_for(lambda: hook.gets)
        teller.tell([health(at=now)], now + timedelta(seconds=10))
        teller.close()
    assert hook.gets == ["/up"]
    assert teller.troubles() == []


def test_a_ping_that_fails_is_said_without_its_secret(tmp_path: Path) -> None:
    with webhook() as hook:
        hook.status = 404
        pinger = Pinger(f"http://127.0.0.1:{hook.port}/{SECRET}", timedelta(seconds=1))
        pinger.go_on(datetime.now(UTC))
        pinger.close(30)
    assert pinger.trouble == "HTTPError: Not Found"


def test_a_ping_reads_no_files_and_shows_no_secrets(tmp_path: Path) -> None:
    assert ping(f"file://{tmp_path}") == "it is no http:// or https:// address"
    with webhook() as hook:
        hook.status, hook.location = 302, f"file://{tmp_path}"
        assert ping(f"http://127.0.0.1:{hook.port}/") != ""
        hook.location = f"ftp://127.0.0.1:{hook.port}/"
        assert "unknown url type" in ping(f"http://127.0.0.1:{hook.port}/")
    for bad in (f"http://127.0.0.1:80x/{SECRET}", f"http://127.0.0.1/{SECRET} x", "http://"):
        said = ping(bad)
        assert said
        assert SECRET not in said
    with hanging_server() as port:
        assert "timed out" in ping(f"http://127.0.0.1:{port}/", 0.3)
