"""Messages as people read them."""

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

from pgkeep.alerts.memory import Event, Queued
from pgkeep.alerts.plan import Item, Message, Reason
from pgkeep.alerts.text import merged, text_of
from pgkeep.health.condition import Condition, Kind
from support.channels import NOW, condition, health, warning

BERLIN = ZoneInfo("Europe/Berlin")


def item(one: Condition, reason: Reason = Reason.NEW, hours: float = 0) -> Item:
    """Return an event that was first seen so long ago."""
    gone = NOW if reason is Reason.OVER else None
    return Item(reason, Event(one, NOW - timedelta(hours=hours), NOW, gone_at=gone))


def test_effect_cause_and_what_to_type_in_this_order() -> None:
    text = text_of(Message("mail", (item(condition(), hours=2),)), NOW, BERLIN)
    assert text.title == "pgkeep: CRITICAL: shop: nothing after 11:00 can be restored of shop"
    assert text.body.splitlines() == [
        "CRITICAL: shop: nothing after 11:00 can be restored of shop",
        "  cause: segment 7 is missing",
        "  do:    pgkeep --cluster shop backup",
        "  since: 2026-03-02 11:00:00+01:00 (10:00:00 UTC), 2 h",
    ]


def test_the_end_says_how_long_it_took() -> None:
    text = text_of(Message("mail", (item(condition(), Reason.OVER, hours=2),)), NOW, UTC)
    assert text.title == "pgkeep: over: shop: wal-hole"
    assert text.body.startswith("OVER after 2 h: shop: nothing after 11:00")


def test_one_cause_of_many_clusters_is_one_paragraph() -> None:
    away = [condition(f"c{n:03}", Kind.REPOSITORY_AWAY, effect="no backups") for n in range(200)]
    text = text_of(Message("mail", tuple(map(item, away))), NOW, UTC)
    assert text.body.count("cause:") == 1
    assert "200 clusters (c000, c001, " in text.title
    assert "and 190 more" in text.title


def test_many_causes_of_one_kind_are_one_paragraph_too() -> None:
    away = [warning(f"c{n:03}", Kind.SERVER_AWAY, cause=f"no host h{n}") for n in range(50)]
    text = text_of(Message("mail", tuple(map(item, away))), NOW, UTC)
    assert text.body.count("cause:") == 1
    assert "no host h0; and 49 other causes" in text.body


def test_what_a_server_says_cannot_break_a_title_or_a_line() -> None:
    bad = condition(effect="a\r\nBcc: all@example.com\x1b[2J" + "x" * 500, cause="b\nc")
    text = text_of(Message("mail", (item(bad), item(warning()))), NOW, UTC)
    assert text.title.isprintable()
    assert len(text.title) <= 200
    assert text.title.endswith("(and 1 more)")
    assert "  cause: b c\n" in text.body


def test_the_digest_has_the_worst_first_and_an_end() -> None:
    found = [health(cluster=f"c{n:03}") for n in range(300)]
    found += [health(condition("shop"), cluster="shop"), health(warning("crm"), cluster="crm")]
    text = text_of(Message("mail", digest=tuple(found)), NOW, UTC)
    assert text.title == "pgkeep: 2 of 302 need attention"
    assert text.body.index("shop: in danger") < text.body.index("crm: at risk")
    assert text.body.index("crm: at risk") < text.body.index("c000: protected")
    assert len(text.body) < 13_000
    assert text.body.endswith("and more: pgkeep status")
    well = text_of(Message("mail", digest=(health(),)), NOW, UTC)
    assert well.title == "pgkeep: shop is protected"
    assert "protected to 2026-03-02 11:59:20 UTC (40 s ago)" in well.body


def test_what_waited_is_one_message_with_the_worst_first() -> None:
    queue = [Queued("calm", "one", "digest", NOW), Queued("bad", "two", "critical", NOW)]
    assert merged(queue[:1], UTC) == (("calm", "one"), "digest")
    text, level = merged(queue, UTC)
    assert (text.title, level) == ("bad (and 1 more message that waited)", "critical")
    assert text.body.index("two") < text.body.index("one")
