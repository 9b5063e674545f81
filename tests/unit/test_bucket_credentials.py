"""Where credentials of buckets come from: files, profiles, programs; and that none is told."""

import json
from pathlib import Path

import pytest

from pgkeep.repository.store.bucket.credentials import Credentials, find_credentials
from pgkeep.repository.store.bucket.errors import CredentialsMissing
from pgkeep.repository.store.bucket.options import BucketOptions

SECRET = "hunter2/hunter2+hunter2"
KEYS = f"aws_access_key_id = AKIAONE\naws_secret_access_key = {SECRET}\n"


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.touch(mode=0o600)
    return path


def named(file: Path, scheme: str = "s3", profile: str = "") -> BucketOptions:
    return BucketOptions(scheme, "bucket", "", credentials_file=str(file), profile=profile)


def test_a_file_of_its_own(file: Path) -> None:
    file.write_text(
        f"[default]\n{KEYS}[other]\n{KEYS.replace('ONE', 'TWO')}aws_session_token = t\n"
    )
    assert find_credentials(named(file)).settings == {
        "access_key_id": "AKIAONE",
        "secret_access_key": SECRET,
    }
    found = find_credentials(named(file, profile="other"))
    assert found.settings["access_key_id"] == "AKIATWO"
    assert found.settings["session_token"] == "t"


def test_no_repr_tells_a_secret(file: Path) -> None:
    file.write_text(f"[default]\n{KEYS}")
    assert SECRET not in repr(find_credentials(named(file)))


def test_aws_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(f"[nightly]\n{KEYS}")
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nregion = x\n[profile nightly]\nregion = y\naws_access_key_id = OLD\n"
    )
    assert find_credentials(BucketOptions("s3", "b", "")).settings == {}  # obstore looks further
    chosen = find_credentials(BucketOptions("s3", "b", "", profile="nightly"))
    monkeypatch.setenv("AWS_PROFILE", "nightly")
    assert find_credentials(BucketOptions("s3", "b", "")).settings == chosen.settings
    assert chosen.settings["access_key_id"] == "AKIAONE"


def test_keys_of_the_environment_go_before_a_default_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(f"[default]\n{KEYS}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATHREE")
    assert find_credentials(BucketOptions("s3", "b", "")).settings == {}  # obstore reads them


def test_a_program_gives_keys_for_an_hour(file: Path) -> None:
    said = {"Version": 1, "AccessKeyId": "AKIAFOUR", "SecretAccessKey": SECRET}
    said |= {"SessionToken": "token", "Expiration": "2030-01-01T00:00:00Z"}
    (file.parent / "said.json").write_text(json.dumps(said))
    file.write_text(f"[default]\ncredential_process = cat '{file.parent}/said.json'\n")
    found = find_credentials(named(file))
    assert found.settings["session_token"] == "token"
    ends = 1893456000.0
    assert not found.outdated(lambda: ends - 600)
    assert found.outdated(lambda: ends - 60)


def test_a_changed_file_is_noticed(file: Path) -> None:
    file.write_text(f"[default]\n{KEYS}")
    found = find_credentials(named(file))
    assert not found.outdated()
    fresh = file.with_name("fresh")
    fresh.write_text(file.read_text())
    fresh.rename(file)
    assert found.outdated()


@pytest.mark.parametrize(
    ("content", "mode", "why", "hint"),
    [
        (None, 0o600, "credentials cannot be read: No such file or directory", "correct cred"),
        (f"[default]\n{KEYS}", 0o644, "everybody on this host can use ", "chmod o-rwx "),
        (f"[default]\n{SECRET}", 0o600, "credentials is no file of AWS profiles", "[default]"),
        ("", 0o600, "there is no profile default in ", "name one that is there"),
        ("[default]\naws_access_key_id = x\n", 0o600, "has a key and no secret", ""),
        ("[default]\nregion = x\n", 0o600, "has no aws_access_key_id", ""),
        ("[default]\nsso_session = x\n", 0o600, "uses sso_session", "export-credentials"),
        ("[default]\ncredential_process = false\n", 0o600, "ended with status 1", ""),
        (f"[default]\ncredential_process = echo {SECRET}\n", 0o600, "something else", ""),
        ("[default]\ncredential_process = /no/such\n", 0o600, "cannot be run: No such file", ""),
        ("[default]\ncredential_process = 'x\n", 0o600, "its quotes do not match", ""),
        (b"\xff\xfe", 0o600, "is not UTF-8 text", ""),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(
    file: Path, content: str | bytes | None, mode: int, why: str, hint: str
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(mode)
    with pytest.raises(CredentialsMissing) as caught:
        find_credentials(named(file, profile="default"))
    error = caught.value
    assert why in str(error)
    assert hint in error.hint
    assert SECRET not in f"{error} {error.hint} {error.facts()}"


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("a2V5\n", {"account_key": "a2V5"}),
        ("?sv=2024&sig=abc%3D\n", {"sas_key": "sv=2024&sig=abc%3D"}),
        (
            "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=a2V5==;EndpointSuffix=x",
            {"account_name": "me", "account_key": "a2V5=="},
        ),
        (
            "BlobEndpoint=https://me.blob.example;SharedAccessSignature=sv=1&sig=x%3D",
            {"endpoint": "https://me.blob.example", "sas_key": "sv=1&sig=x%3D"},
        ),
    ],
)
def test_azures_three_kinds_of_secrets(file: Path, content: str, settings: dict[str, str]) -> None:
    file.write_text(content)
    assert find_credentials(named(file, "az")).settings == settings


def test_googles_keys(file: Path) -> None:
    file.write_text('{"type": "service_account"}')
    assert find_credentials(named(file, "gs")).settings == {"service_account": str(file)}
    file.write_text('{"type": "authorized_user"}')
    assert find_credentials(named(file, "gs")).settings == {"application_credentials": str(file)}
    for broken in ("[", "3", SECRET):
        file.write_text(broken)
        with pytest.raises(CredentialsMissing, match="is no JSON file of Google's") as caught:
            find_credentials(named(file, "gs"))
        assert SECRET not in str(caught.value)


def test_none_at_all_are_never_outdated() -> None:
    assert not Credentials({}).outdated()
