"""The config: what it accepts, and what it says about what it doesn't."""

import re
import tomllib

import pytest

from pgkeep.config.whole import Config, read_config
from pgkeep.config_reader import BadConfig, Secret, find_line
from pgkeep.schedule import windows, words
from pgkeep.units import Duration

MINIMAL = '[repository]\nurl = "/srv/backups"\n'


def read(text: str) -> Config:
    return read_config(tomllib.loads(text), "/etc/pgkeep.toml", text)


def test_a_minimal_file_is_enough() -> None:
    config = read(MINIMAL + '[clusters.main]\nconninfo = "host=/run/postgresql"\n')
    assert config.repository[0].encryption == "none"
    assert config.clusters["main"].conninfo.reveal() == "host=/run/postgresql"
    assert config.clusters["main"].retention.minimum == 2


def test_retention_is_accepted() -> None:
    config = read(MINIMAL + '[clusters.main.retention]\nwindow = "14d"\ndaily = 7\nyearly = 2\n')
    assert config.clusters["main"].retention.window == Duration(14 * 86400)


def test_secrets_hide_in_every_repr() -> None:
    config = read(MINIMAL + '[clusters.main]\nconninfo = "password=hunter2"\n')
    assert "hunter2" not in f"{config!r} {config} {config.clusters['main'].conninfo:>9}"
    assert repr(Secret("")) == "Secret('')"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        pytest.param(
            MINIMAL + '[clusters.main]\nconinfo = "host=x"\n',
            "line 4: clusters.main.coninfo is not an option",
            "did you mean conninfo? [clusters.main] takes conninfo, data_directory, pg_bin, "
            "server_name, may_take_over, jobs, wal_timeout, archive, archive_jobs, "
            "on_archive_failure, archive_backlog_limit, rate, nice, ionice, cleaning, retention, "
            "drill, schedule, objectives",
            id="misspelt key",
        ),
        pytest.param(
            MINIMAL + '[clusters.main.schedule]\nbackup = "sometimes"\n',
            "line 4: clusters.main.schedule.backup is no time for a job: 'sometimes'",
            f"it takes {words.FORMS}",
            id="a schedule that is none",
        ),
        pytest.param(
            MINIMAL + '[clusters.main.schedule]\nnot_during = ["lunch"]\n',
            "line 4: clusters.main.schedule.not_during is no window of time: 'lunch'; "
            "days are mon, tue, wed, thu, fri, sat, sun",
            f"it takes {windows.FORMS}",
            id="a window that is none",
        ),
        pytest.param(
            MINIMAL + '[service]\nrestore_directories = ["/srv/restore", "/"]\n',
            "line 4: service.restore_directories has no absolute path of a folder: '/'",
            "write one: /srv/restore",
            id="restores anywhere",
        ),
        pytest.param(
            MINIMAL + '[service]\nrestore_directories = ["/srv/../etc"]\n',
            "line 4: service.restore_directories has no absolute path of a folder: '/srv/../etc'",
            "write one: /srv/restore",
            id="restores elsewhere",
        ),
        pytest.param(
            MINIMAL + "[cluster.main]\n",
            "line 3: cluster is not an option",
            "did you mean clusters? the file takes repository, write, timezone, clusters, "
            "retention, dump, drill, sandbox, service, alerts",
            id="misspelt section",
        ),
        pytest.param(
            MINIMAL + "stanza = 1\n",
            "line 3: repository.stanza is not an option",
            "[repository] takes name, url, site, encryption, passphrase_file, passphrase_command, "
            "lock, lock_ahead, lock_maximum, compression_level, prices, endpoint, region, "
            "path_style, credentials_file, profile, account, storage_class, "
            "server_side_encryption, kms_key, ca_file, proxy, part_size, "
            "connect_timeout, identity_file, known_hosts, timeout, retry_for",
            id="nothing near",
        ),
        pytest.param(
            '[repository]\nencryption = "aes"\nurl = "/x"\n',
            'line 2: repository.encryption cannot be "aes"',
            'it takes "none" or "passphrase"',
            id="closed choice",
        ),
        pytest.param(
            MINIMAL + "[clusters.main]\njobs = -1\n",
            "line 4: clusters.main.jobs cannot be -1",
            "it takes a number from 0 to 256",
            id="out of range",
        ),
        pytest.param(
            MINIMAL + "[clusters.main]\njobs = true\n",
            "line 4: clusters.main.jobs cannot be true",
            "it takes a number from 0 to 256",
            id="true is no number",
        ),
        pytest.param(
            MINIMAL + "[clusters.main.retention]\nwindow = 14\n",
            "line 4: clusters.main.retention.window cannot be 14",
            "it takes a duration like 90s, 15min, 14d, 2w in quotes",
            id="duration without unit",
        ),
        pytest.param(
            MINIMAL + "[clusters.main]\nconninfo = 5432\n",
            "line 4: clusters.main.conninfo cannot be this int",
            "it takes text in quotes",
            id="a secret's value is not repeated",
        ),
        pytest.param(
            "timezone = 'Mars/Base'\n" + MINIMAL,
            "line 1: timezone is no time zone: 'Mars/Base'",
            "write a name like Europe/Berlin or UTC",
            id="no such zone",
        ),
        pytest.param(
            MINIMAL + '[[clusters.main.drill.checks]]\nquery = "SELECT 1"\nexpect = "> many"\n',
            "line 5: clusters.main.drill.checks[1].expect compares with what is neither a number "
            "nor a time: '> many'",
            'it takes a value like "42" or "true", a comparison like "> 1000" or "!= 0", "rows" or '
            '"no rows"',
            id="an expectation that compares with nothing",
        ),
        pytest.param(
            MINIMAL + '[clusters.main.drill]\nmay_be_empty = ["queue"]\n',
            "line 4: clusters.main.drill.may_be_empty names no table: 'queue'",
            "write DATABASE.SCHEMA.TABLE",
            id="a table without its database",
        ),
        pytest.param("", "repository is missing", "add a [repository] section", id="empty file"),
        pytest.param(
            "[repository]\n",
            "line 1: repository.url is missing",
            "add it under [repository]",
            id="required option",
        ),
        pytest.param(
            MINIMAL + '[clusters."a b"]\n',
            "line 3: clusters.a b is no name for a cluster",
            "use 1 to 63 letters, digits, '-', '_' and '.', beginning with a letter or digit",
            id="cluster name",
        ),
        pytest.param(
            "repository = 3\n",
            "line 1: repository is a section, not 3",
            "write [repository] on a line of its own and its options below",
            id="value instead of section",
        ),
        pytest.param(
            "clusters = 3\n" + MINIMAL,
            "line 1: clusters holds sections, not 3",
            "write [clusters.main] on a line of its own",
            id="value instead of clusters",
        ),
        pytest.param(
            MINIMAL + 'passphrase_file = "/a"\npassphrase_command = "b"\n',
            "line 4: repository.passphrase_command is set, and passphrase_file too",
            "keep one of the two",
            id="two sources of the secret",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read(text)
    assert str(caught.value) == f"cannot use /etc/pgkeep.toml: {message}"
    assert caught.value.hint == hint


def test_lines_are_found_however_the_key_is_written() -> None:
    text = 'repository.url = "/x"\n\n[ clusters . "main" ] # here\n"jobs" = 3\n'
    assert find_line(text, ("repository", "url")) == 1
    assert find_line(text, ("clusters", "main")) == 3
    assert find_line(text, ("clusters", "main", "jobs")) == 4
    assert find_line(text, ("clusters", "main", "pg_bin")) == 3
    assert find_line(text, ("elsewhere",)) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(
            'archive_backlog_limit = "5GB"',
            "clusters.main.archive_backlog_limit is for protect-database alone",
            id="a limit alone",
        ),
        pytest.param(
            'on_archive_failure = "protect-database"',
            "clusters.main.on_archive_failure needs archive_backlog_limit",
            id="no limit",
        ),
        pytest.param(
            'archive = "sync"\narchive_backlog_limit = "5GB"\n'
            'on_archive_failure = "protect-database"',
            'clusters.main.on_archive_failure needs archive = "ahead"',
            id="nobody who gives up",
        ),
        pytest.param(
            'on_archive_failure = "protect-database"\narchive_backlog_limit = "much"',
            'clusters.main.archive_backlog_limit cannot be "much"',
            id="no size",
        ),
    ],
)
def test_giving_wal_up_takes_a_limit(options: str, said: str) -> None:
    text = f"{MINIMAL}[clusters.main]\n{options}\n"
    with pytest.raises(BadConfig, match=re.escape(said)):
        read_config(tomllib.loads(text), "/etc/pgkeep.toml", text)


SEVERAL = """\
write = ["near"]
[[repository]]
name = "near"
url = "/near"
[[repository]]
name = "far"
url = "/far"
passphrase_file = "/secret"
[retention.far]
window = "30d"
"""


def test_several_repositories_and_a_retention_of_their_own() -> None:
    config = read(SEVERAL)
    assert [repository.name for repository in config.repository] == ["near", "far"]
    assert config.write == ["near"]
    assert config.retention["far"].window == 30 * 86400


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ('write = ["near"]', 'write = ["neer"]', "line 1: write names no repository: 'neer'",
         "there is near, far"),
        ('name = "far"', 'name = "near"',
         "line 6: repository[2].name is taken: repository[1] is 'near' too", "give each its own"),
        ('name = "far"', "", "line 5: repository[2].name is missing",
         "use 1 to 63 letters, digits, '-', '_' and '.', beginning with a letter or digit"),
        ("[retention.far]", "[retention.fur]", "line 9: retention.fur names no repository",
         "there is near, far"),
        ('url = "/far"', 'urk = "/far"', "line 7: repository[2].urk is not an option", None),
        ('passphrase_file = "/secret"', 'passphrase_file = "/a"\npassphrase_command = "b"',
         "line 9: repository[2].passphrase_command is set, and passphrase_file too",
         "keep one of the two"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_of_several_is_named(
    old: str, new: str, message: str, hint: str | None
) -> None:
    with pytest.raises(BadConfig) as caught:
        read(SEVERAL.replace(old, new))
    assert str(caught.value) == f"cannot use /etc/pgkeep.toml: {message}"
    assert hint is None or caught.value.hint == hint
