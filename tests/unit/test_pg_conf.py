"""Configuration files: what they say, and what is taken out or put in."""

import shlex

import pytest

from pgkeep.postgres.conf import (
    BadSetting,
    append_settings,
    parse_conf,
    quote_value,
    shell_command,
    strip_recovery_settings,
)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("port = 5432", "port", "5432"),
        ("  Port=5433 # why", "port", "5433"),
        ("shared_buffers 128MB", "shared_buffers", "128MB"),
        ("listen_addresses = '*'", "listen_addresses", "*"),
        ("listen_addresses='*'#all", "listen_addresses", "*"),
        ("x = 'it''s'", "x", "it's"),
        (r"x = 'it\'s \\ \t\101'", "x", "it's \\ \tA"),
        ("x = 'a # b'", "x", "a # b"),
        ("my.thing = on", "my.thing", "on"),
        ("x = ''", "x", ""),
        ("x = -1.5e3", "x", "-1.5e3"),
        ("x='a'\r", "x", "a"),
        ("include 'other.conf'", "include", "other.conf"),
        ("include_dir = 'conf.d'", "include_dir", "conf.d"),
    ],
)
def test_a_line_is_read_as_the_server_reads_it(line: str, name: str, value: str) -> None:
    (found,) = parse_conf(f"# first\n{line}\n").settings
    assert (found.name, found.value, found.line) == (name, value, 2)
    assert found.is_include == name.startswith("include")


def test_the_last_line_wins_and_includes_are_told() -> None:
    found = parse_conf("a = 1\ninclude 'x'\nA = 2\ninclude_if_exists 'y'\n\nbad line here\n=\n")
    assert found.value("A") == "2"
    assert found.value("b") is None
    assert [s.value for s in found.includes()] == ["x", "y"]
    assert found.unreadable == (6, 7)


def test_recovery_settings_go_and_all_else_stays_byte_for_byte() -> None:
    text = (
        "# written by hand\r\n"
        "restore_command = 'cp \"/a b/%f\" %p' # old\n"
        "\tRECOVERY_TARGET_TIME='2026-01-01'\n"
        "work_mem = 4MB\x0b\n"
        "#restore_command = 'kept: a comment'\n"
        "restore_commands = 'kept: another name'\n"
        "primary_conninfo = 'host=x password=''y'''\n"
        "broken restore_command = x y\n"
        "port = 5432"
    )
    kept, removed = strip_recovery_settings(text)
    assert kept == (
        "# written by hand\r\n"
        "work_mem = 4MB\x0b\n"
        "#restore_command = 'kept: a comment'\n"
        "restore_commands = 'kept: another name'\n"
        "broken restore_command = x y\n"
        "port = 5432"
    )
    assert [(s.name, s.value) for s in removed] == [
        ("restore_command", 'cp "/a b/%f" %p'),
        ("recovery_target_time", "2026-01-01"),
        ("primary_conninfo", "host=x password='y'"),
    ]
    assert strip_recovery_settings(kept) == (kept, ())


def test_settings_are_appended_so_that_they_win() -> None:
    text = append_settings("port = 5432", {"restore_command": "it's \\ %%f"}, "by pgkeep")
    assert text == "port = 5432\n# by pgkeep\nrestore_command = 'it''s \\\\ %%f'\n"
    assert parse_conf(text).value("restore_command") == "it's \\ %%f"


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_line_breaks_in_values_are_refused(value: str) -> None:
    with pytest.raises(BadSetting) as caught:
        quote_value("restore_command", value)
    assert str(caught.value) == (
        f"cannot set restore_command to {value!r}: it contains a line break"
    )


def test_a_command_keeps_placeholders_and_doubles_other_percent_signs() -> None:
    command = shell_command(["/opt/my bin/pgkeep-wal", "--config", "/it's %f $HOME", "push", "%p"])
    assert command == """'/opt/my bin/pgkeep-wal' --config '/it'"'"'s %%f $HOME' push "%p\""""


@pytest.mark.parametrize("hostile", ["a b", "it's", 'say "x"', "%f", "%x%%", "$(id)", "a\\b", "ü*"])
def test_the_shell_sees_exactly_the_arguments(hostile: str) -> None:
    command = shell_command(["cmd", hostile, "%p"]).replace("%%", "\0").replace("%p", "pg_wal/1")
    assert shlex.split(command.replace("\0", "%")) == ["cmd", hostile, "pg_wal/1"]
