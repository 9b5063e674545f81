"""Finding the config, reading it, and the passphrase it points to."""

import os
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep import config_file
from pgkeep.config_file import (
    ClusterNotChosen,
    ConfigMissing,
    ConfigSyntax,
    ConfigUnreadable,
    ConfigValue,
    SecretUnreadable,
    Table,
    choose_cluster,
    load,
    parse,
    parse_simple,
    read_secret,
    repository_tables,
    repository_url,
    writing,
)
from pgkeep.repository.store.sftp.address import parse_address

CONFIG = """\
# the shop's cluster
timezone = "Europe/Berlin"

[repository]
url = "/var/lib/pgkeep"   # a directory
compression_level = 1

[clusters.main]
conninfo = "host=/var/run/postgresql dbname=postgres"

[clusters.main.retention]
window = "14d"
"""


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGKEEP_CONFIG", raising=False)
    monkeypatch.delenv("PGKEEP_PASSPHRASE", raising=False)


def test_the_config_of_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "pgkeep.toml").write_text(CONFIG)
    path, config = load()
    assert path == str(tmp_path / "pgkeep.toml")
    assert config == tomllib.loads(CONFIG)


def test_a_named_config_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.toml").write_text('timezone = "A"\n')
    (tmp_path / "b.toml").write_text('timezone = "B"\n')
    monkeypatch.setenv("PGKEEP_CONFIG", "b.toml")
    assert load("a.toml")[1] == {"timezone": "A"}
    assert load()[1] == {"timezone": "B"}


def test_no_config_names_the_places_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigMissing) as caught:
        load()
    assert str(caught.value) == (
        f"cannot find the config: there is no {tmp_path}/pgkeep.toml and no /etc/pgkeep/pgkeep.toml"
    )
    assert caught.value.hint == (
        "write one with: pgkeep init; or name yours with --config or $PGKEEP_CONFIG"
    )


def test_a_named_config_that_is_missing_is_not_replaced_by_another(tmp_path: Path) -> None:
    (tmp_path / "pgkeep.toml").write_text(CONFIG)
    with pytest.raises(ConfigMissing) as caught:
        load("other.toml")
    assert caught.value.looked == (f"{tmp_path}/other.toml",)


def test_a_directory_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "pgkeep.toml").mkdir()
    with pytest.raises(
        ConfigUnreadable, match=r"cannot read pgkeep\.toml as user .*: Is a directory"
    ):
        load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_config_without_permission_names_the_user(tmp_path: Path) -> None:
    (tmp_path / "pgkeep.toml").write_text(CONFIG)
    (tmp_path / "pgkeep.toml").chmod(0)
    with pytest.raises(ConfigUnreadable, match="Permission denied"):
        load()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"[repository\n", "at line 1", id="open bracket"),
        pytest.param(b"[a]\nurl = /srv\n", "at line 2", id="no quotes"),
        pytest.param(b"[a]\nx = 1\nx = 2\n", "at line 3", id="key twice"),
        pytest.param(b"[a]\n[b]\n[a]\n", "at line 3", id="table twice"),
        pytest.param(b"# \xc3\xa9\n# \xe9\n", "line 2 is not UTF-8", id="latin-1"),
    ],
)
def test_a_config_that_is_no_toml_tells_the_line(content: bytes, why: str) -> None:
    with pytest.raises(ConfigSyntax) as caught:
        parse(content, "/etc/pgkeep/pgkeep.toml")
    assert str(caught.value).startswith("cannot understand /etc/pgkeep/pgkeep.toml: ")
    assert why in str(caught.value)


def test_an_everyday_config_needs_no_tomllib() -> None:
    assert parse_simple(CONFIG) == tomllib.loads(CONFIG)


LINES = st.lists(
    st.sampled_from(
        [
            "[a]", "[a.b]", "[b]", "[a]  # c", "[a", "[[a]]", "[[b]]", "", "# word", "\t", "x = 1",
            "x=01",
            "x = -1", "x = 1.5", "b = 2", 'y = "text"', 'y = "a # b" # c', 'y = "a\\tb"', "y = 'z'",
            'y = """', 'y = "', 'y = ""', "z = true", "z = True", "a.b = 1", '"q" = 1', "= 1", "x",
            'z = ["x", "y"]', 'z = ["x", ]', 'z = []', 'z = ["x" # c]', 'z = ["a,b"]', "[a.c]",
            "z = [1]", "z = {}", "b = 1_000", 'y = "é"', 'y = "x"y', "d = 2026-01-01", "x = 1\r",
            'y = "\x07"', "- = 1", "x y = 1", "z = 0x1", "z = 0", "z = \u0664",
        ]
    )
)  # fmt: skip


SEVERAL = """\
write = ["near", "far"]  # both

[[repository]]
name = "near"
url = "/srv/pgkeep"

[[repository]]
name = "far"
url = "s3://bucket/x"
"""


def test_several_repositories_need_no_tomllib() -> None:
    assert parse_simple(SEVERAL) == tomllib.loads(SEVERAL)


def test_where_to_write() -> None:
    config = tomllib.loads(SEVERAL)
    near, far = config["repository"]
    assert writing("x", config) == ([near, far], True)
    assert writing("x", config | {"write": ["far"]}) == ([far], True)
    assert writing("x", config | {"write": []}) == ([near, far], False)
    assert writing("x", {"repository": near}) == ([near], False)
    for wrong in (["farther"], "far", ["near", ""]):
        with pytest.raises(ConfigValue, match="it must list names of repositories: near, far"):
            writing("x", config | {"write": wrong})


@pytest.mark.parametrize("name", [None, "near"])
def test_each_of_several_repositories_has_a_name_of_its_own(name: str | None) -> None:
    near, far = tomllib.loads(SEVERAL)["repository"]
    other = {key: value for key, value in far.items() if key != "name"} | (
        {"name": name} if name else {}
    )
    with pytest.raises(ConfigValue, match="needs a name of its own"):
        repository_tables("x", {"repository": [near, other]})


@given(LINES)
def test_the_plain_reader_never_disagrees_with_tomllib(lines: list[str]) -> None:
    text = "\n".join(lines)
    simple = parse_simple(text)
    if simple is not None:
        assert simple == tomllib.loads(text)


@given(st.text(st.sampled_from("[]ab=.\"\\# \t\n\r1t'é\x00"), max_size=40))
def test_the_plain_reader_never_disagrees_on_noise(text: str) -> None:
    simple = parse_simple(text)
    if simple is not None:
        assert simple == tomllib.loads(text)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        pytest.param("/srv/pgkeep", "/srv/pgkeep", id="absolute"),
        pytest.param("backups", "/etc/pgkeep/backups", id="beside the config"),
        pytest.param("s3://bucket/x", "s3://bucket/x", id="bucket"),
    ],
)
def test_a_relative_repository_lies_beside_the_config(url: str, seen: str) -> None:
    assert repository_url("/etc/pgkeep/pgkeep.toml", {"url": url}) == seen


def test_an_sftp_address_gets_the_options_of_its_table() -> None:
    table: Table = {
        "url": "sftp://u@h/a",
        "identity_file": "keys/id#1",
        "known_hosts": "/etc/hosts of ssh",
        "timeout": "30s",
        "retry_for": "0s",
        "encryption": "none",
    }
    address = repository_url("/etc/pgkeep/pgkeep.toml", table)
    assert address == (
        "sftp://u@h/a?identity_file=/etc/pgkeep/keys/id%231&known_hosts=/etc/hosts%20of%20ssh"
        "&timeout=30s&retry_for=0s"
    )
    place = parse_address(address)
    assert (place.identity_file, place.known_hosts) == (
        "/etc/pgkeep/keys/id#1",
        "/etc/hosts of ssh",
    )
    assert (place.timeout, place.retry_for) == (30, 0)
    assert repository_url("/x", {"url": "sftp://u@h/a"}) == "sftp://u@h/a"
    both: Table = {"url": "sftp://u@h/a?timeout=5s", "retry_for": "1s"}
    assert repository_url("/x", both) == "sftp://u@h/a?timeout=5s&retry_for=1s"


@pytest.mark.parametrize("config", [{}, {"repository": 1}, {"repository": {"url": 3}}])
def test_a_config_without_a_repository_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(ConfigValue):
        repository_tables("/etc/pgkeep/pgkeep.toml", config)


def test_the_only_cluster_need_not_be_named() -> None:
    assert choose_cluster("/c", {"clusters": {"main": {}}}, None) == "main"


def test_two_clusters_must_be_told_apart() -> None:
    config: dict[str, object] = {"clusters": {"main": {}, "shop": {}}}
    assert choose_cluster("/c", config, "shop") == "shop"
    with pytest.raises(ClusterNotChosen) as caught:
        choose_cluster("/c", config, None)
    assert str(caught.value) == "cannot tell which cluster is meant: /c has main, shop"
    assert caught.value.hint == "say which: --cluster main"
    with pytest.raises(ClusterNotChosen) as caught:
        choose_cluster("/c", config, "mian")
    assert str(caught.value) == "cannot find cluster 'mian': /c has main, shop"


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> dict[str, object]:
    file = folder / "secret"
    file.write_bytes(content)
    file.chmod(mode)
    return {"passphrase_file": "secret"}


def secret(folder: Path, table: dict[str, object], seconds: float = 5) -> str | None:
    return read_secret(str(folder / "pgkeep.toml"), table, seconds)


GOOD = [
    pytest.param(b"horse", "horse", id="bare"),
    pytest.param(b"horse\n", "horse", id="newline"),
    pytest.param(b"horse\r\n", "horse", id="CRLF"),
    pytest.param(b" a horse \n", " a horse ", id="spaces belong to it"),
    pytest.param("pferd-äöü-馬\n".encode(), "pferd-äöü-馬", id="non-ASCII"),
]
BAD = [
    pytest.param(b"", "it is empty", id="empty"),
    pytest.param(b"\r\n", "it is empty", id="line end only"),
    pytest.param(b"a\nb\n", "it has more than one line", id="two lines"),
    pytest.param(b"\xff\xfe", "it is not UTF-8 text", id="binary"),
    pytest.param(b"x" * 5000, "it is longer than 4096 bytes", id="too long"),
]


@pytest.mark.parametrize("source", ["file", "environment", "command"])
@pytest.mark.parametrize(("content", "read"), GOOD)
def test_scenario_114_one_rule_for_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, content: bytes, read: str
) -> None:
    assert secret(tmp_path, given_by(source, content, tmp_path, monkeypatch)) == read


@pytest.mark.parametrize("source", ["file", "environment", "command"])
@pytest.mark.parametrize(("content", "why"), BAD)
def test_scenario_114_oddly_formed_secrets_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, content: bytes, why: str
) -> None:
    table = given_by(source, content, tmp_path, monkeypatch)
    with pytest.raises(SecretUnreadable) as caught:
        secret(tmp_path, table)
    assert caught.value.why == why
    assert content[:3].decode(errors="replace") not in str(caught.value) or not content


def given_by(
    source: str, content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    if source == "environment":
        monkeypatch.setenv("PGKEEP_PASSPHRASE", os.fsdecode(content))
        return {}
    table = secret_file(folder, content)
    return table if source == "file" else {"passphrase_command": f"cat {folder}/secret"}


def test_without_a_source_there_is_no_secret(tmp_path: Path) -> None:
    assert secret(tmp_path, {}) is None


def test_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGKEEP_PASSPHRASE", "from the environment")
    assert secret(tmp_path, secret_file(tmp_path, b"from the file")) == "from the environment"


def test_two_sources_in_the_config_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigValue, match="both set"):
        secret(tmp_path, {"passphrase_file": "a", "passphrase_command": "b"})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SecretUnreadable) as caught:
        secret(tmp_path, secret_file(tmp_path, b"horse\n", mode))
    assert caught.value.why == f"other users can read it too (mode 0{mode:o})"
    assert caught.value.hint == f"chmod 600 {tmp_path}/secret"


def test_a_missing_passphrase_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(SecretUnreadable) as caught:
        secret(tmp_path, {"passphrase_file": "/nowhere/secret"})
    assert caught.value.source == "passphrase_file /nowhere/secret"
    assert caught.value.why.startswith("No such file or directory")


def test_scenario_114_a_command_that_warns_still_counts(tmp_path: Path) -> None:
    assert secret(tmp_path, {"passphrase_command": "echo beware >&2; echo horse"}) == "horse"


def test_scenario_114_a_command_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(SecretUnreadable) as caught:
        secret(tmp_path, {"passphrase_command": "echo horse; echo first; echo sealed >&2; exit 3"})
    assert str(caught.value) == (
        "cannot read the passphrase from passphrase_command: it ended with status 3: sealed"
    )


@pytest.mark.parametrize("command", ["sleep 60", "sleep 60 & echo horse"])
def test_scenario_114_a_command_that_hangs_is_ended(tmp_path: Path, command: str) -> None:
    began = time.monotonic()
    with pytest.raises(SecretUnreadable, match=r"it gave no answer within 0\.2 seconds"):
        secret(tmp_path, {"passphrase_command": command}, seconds=0.2)
    assert time.monotonic() - began < 5


def test_only_this_module_reads_the_environment() -> None:
    source = Path(config_file.__file__).parent
    readers = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if any(word in path.read_text() for word in ("os.environ", "os.getenv", "getenv("))
    ]
    assert readers == ["config_file.py"]
