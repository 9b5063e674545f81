"""What may be asked of pgkeep from afar, and what is not let through."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.api.asking.commands import COMMANDS, Asked, Command, check
from pgkeep.api.asking.values import Bounds
from pgkeep.api.errors import BadRequest
from pgkeep.api.rights import NEEDS, Role
from pgkeep.service.jobs.commands import kind_of

BOUNDS = Bounds(("/srv/restore", "/data/r2"), ("local", "offsite"))
ID = "20260101T120000Z-6eb1"
DUMP = "D20260101T120000Z-6eb1"


def ask(text: str | Sequence[str], bounds: Bounds = BOUNDS) -> Asked:
    return check(text.split() if isinstance(text, str) else text, bounds)


@pytest.mark.parametrize(
    ("words", "act", "role"),
    [
        ("backup", "backup", "operator"),
        ("backup --type full --rate 200MB/s", "backup", "operator"),
        ("dump create --all", "dump", "operator"),
        (f"verify {ID} {DUMP} --level=bytes --sample 5%", "verify", "operator"),
        ("drill --to random", "drill", "operator"),
        ("census take", "census", "operator"),
        ("check --321", "check", "operator"),
        ("checklist --record", "check", "operator"),
        ("point before_v2 --wait", "point", "operator"),
        ("copy --to offsite", "copy", "operator"),
        ("alert test", "alert-test", "operator"),
        (f"pin {ID} --reason=audit --until 90d", "pin", "operator"),
        ("undo find --since 2h --kind drop-table", "undo-find", "operator"),
        ("expire --dry-run", "preview", "operator"),
        (f"delete {DUMP} --dry-run", "preview", "operator"),
        ("restore --target-dir /srv/restore/x --dry-run", "preview", "operator"),
        ("restore --target-dir /srv/restore/x --to xid:1234567", "restore", "restorer"),
        (f"restore {ID} --target-dir=/data/r2/a/b", "restore", "restorer"),
        ("undo sandbox --at lsn:0/4A000028 --for 1h", "sandbox", "restorer"),
        ("undo sandbox --stop", "sandbox", "restorer"),
        ("undo table shop.public.orders --event 3", "undo", "restorer"),
        ("undo database shop --dry-run", "undo", "restorer"),
        (f"dump restore {DUMP} --name copy --masked", "dump-restore", "restorer"),
        (f"pin {ID} --remove", "unpin", "admin"),
        ("undo rows a.b.c --where id=3", "undo-by-sql", "admin"),
        ("expire", "expire", "admin"),
        (f"delete {ID}", "delete", "admin"),
    ],
)
def test_each_command_is_an_act_of_a_role(words: str, act: str, role: str) -> None:
    asked = ask(words)
    assert (asked.act, NEEDS[asked.act]) == (act, Role(role))
    assert kind_of(asked.words), "the service runs it"


def test_every_command_of_the_table_is_an_act_and_a_job() -> None:
    for command in COMMANDS:
        assert kind_of(command.words)
        for act in (command.act, *command.acts.values()):
            assert act in NEEDS


def test_values_are_bound_to_their_options() -> None:
    asked = ask(["restore", "--target-dir", "/srv/restore/x", "--to", "2026-01-15 15:47:21+00"])
    assert asked.words == (
        "restore",
        "--target-dir=/srv/restore/x",
        "--to=2026-01-15 15:47:21+00",
    )
    assert asked.target_directory == "/srv/restore/x"


@pytest.mark.parametrize(
    ("words", "confirm"),
    [
        ("expire", True),
        ("expire --dry-run", False),
        (f"delete {ID}", True),
        ("undo table a.b.c --event 1 --into-place", True),
        ("undo database a", True),
        ("backup", False),
        ("restore --target-dir /srv/restore/x", False),
    ],
)
def test_what_destroys_or_changes_the_server_takes_the_name(words: str, confirm: bool) -> None:
    assert ask(words).confirm is confirm


def test_nobody_is_asked_at_a_terminal_that_is_not_there() -> None:
    assert ask(f"delete {ID}").words == ("delete", ID, "--yes")
    assert ask(f"delete {ID} --dry-run").words == ("delete", ID, "--dry-run")
    assert ask("undo database a --yes").words == ("undo", "database", "a", "--yes")


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["rm", "-rf", "/"],
        ["key", "add"],
        ["serve"],
        ["user", "add", "eve", "--role", "admin"],
        ["backup", "--config=/tmp/evil.toml"],
        ["backup", "--repository", "/tmp/evil"],
        ["backup", "--json"],
        ["backup", "--"],
        ["backup", "extra"],
        ["backup", "--type", "--config=/tmp/evil"],
        ["backup", "--label=-x"],
        ["backup", "--label", ""],
        ["backup", "--label"],
        ["backup", "--label=two\nlines"],
        ["backup", "--label=\x1b[2J"],
        ["backup", "--label=a\0b"],
        ["backup", "--label=\ud800"],
        ["backup", "--label=" + "x" * 5000],
        ["backup", "--jobs=0"],
        ["backup", "--jobs=9999"],
        ["backup", "--jobs=٣"],
        ["backup", "--rate=fast"],
        ["dump", "create", "--scratch=/etc"],
        ["dump", "create", "--filter=/etc/passwd"],
        ["dump", "restore", DUMP],
        ["dump", "restore", DUMP, "--name=x", "--into=host=evil"],
        ["dump", "restore", DUMP, "--name=x", "--replace"],
        ["drill", "--html=/etc/cron.d/x"],
        ["drill", "--scratch", "/"],
        ["drill", "--pg-bin", "/tmp/evil"],
        ["verify", "--from", "sftp://evil/x", "--repair"],
        ["verify", "../../etc/passwd"],
        ["verify", "2026"],
        ["copy"],
        ["copy", "--to", "/tmp/anywhere"],
        ["copy", "--to", "s3://evil/bucket"],
        ["copy", "--to=elsewhere"],
        ["pin", ID, "--until=tomorrow"],
        ["pin"],
        ["delete", "latest"],
        ["delete", "20260101"],
        ["delete", ID, ID],
        ["restore"],
        ["restore", "--target-dir=relative"],
        ["restore", "--target-dir=/"],
        ["restore", "--target-dir=/srv/restore"],
        ["restore", "--target-dir=/srv/restore/"],
        ["restore", "--target-dir=/srv/restore/../../etc"],
        ["restore", "--target-dir=/srv/restore/./x"],
        ["restore", "--target-dir=/srv/restore//x"],
        ["restore", "--target-dir=/srv/restored/x"],
        ["restore", "--target-dir=/srv/restore/x\0"],
        ["restore", "--target-dir=/var/lib/postgresql/18/main"],
        ["restore", "--target-dir=/srv/restore/x", "--delta"],
        ["restore", "--target-dir=/srv/restore/x", "--target-dir=/etc/x"],
        ["restore", "--target-dir=/srv/restore/x", "--tablespace=/a=/etc"],
        ["restore", "--target-dir=/srv/restore/x", "--primary-conninfo=host=evil"],
        ["restore", "--target-dir=/srv/restore/x", "--to=name:a\nb"],
        ["restore", "--target-dir=/srv/restore/x", "--to=soon"],
        ["restore", "--target-dir=/srv/restore/x", "--keep-archiving"],
        ["undo", "sandbox", "--at=latest"],
        ["undo", "sandbox", "--at=latest", "--for=1h", "--scratch=/etc"],
        ["undo", "table", "a.b.c", "--dump=/etc/x"],
        ["undo", "table", "--help"],
        ["undo", "rows", "a.b.c"],
        ["backup"] + ["--label=x"] * 300,
    ],
    ids=lambda words: " ".join(words)[:60].encode("unicode_escape").decode(),
)
def test_what_reaches_further_is_refused(words: list[str]) -> None:
    with pytest.raises(BadRequest):
        ask(words)


def test_without_directories_nothing_is_restored_from_afar() -> None:
    with pytest.raises(BadRequest, match="restore_directories of pgkeep"):
        ask("restore --target-dir=/srv/restore/x", replace(BOUNDS, restore_directories=()))


OPTIONS = sorted({option for command in COMMANDS for option in command.options})
FLAGS = sorted({flag for command in COMMANDS for flag in command.flags})
nasty = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["-", "--", "--config=/x", "-c", "..", "/etc/passwd", "\0", "a\nb", ID]),
)
anything = st.lists(
    st.one_of(
        nasty,
        st.sampled_from([*OPTIONS, *FLAGS, "latest", "1h", "5%", "/srv/restore/x", "offsite"]),
        st.builds("{}={}".format, st.sampled_from(OPTIONS), nasty),
    ),
    max_size=6,
)


@given(st.sampled_from(COMMANDS), anything)
def test_whatever_comes_through_is_of_the_table(command: Command, rest: list[str]) -> None:
    words = [*command.words, *rest]
    try:
        asked = ask(words)
    except BadRequest:
        return
    known = max(
        (c for c in COMMANDS if asked.words[: len(c.words)] == c.words),
        key=lambda c: len(c.words),
    )
    for word in asked.words[len(known.words) :]:
        name, equals, value = word.partition("=")
        assert word.isprintable()
        if name in known.options:
            assert equals
            assert value
            assert not value.startswith("-")
        elif word.startswith("-"):
            assert word in known.flags or word in known.always
    assert ask(asked.words).words == asked.words, "what is checked once is right for good"
