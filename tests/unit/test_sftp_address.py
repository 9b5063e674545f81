"""Addresses of stores behind SFTP, known_hosts files, and patience: all pure."""

import base64
import subprocess
from pathlib import Path

import pytest

from pgkeep.repository.store.sftp.address import BadSftpUrl, SftpAddress, parse_address
from pgkeep.repository.store.sftp.known_hosts import fingerprint, keys_of
from pgkeep.repository.store.sftp.patience import Patience


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sftp://u@h/a", SftpAddress("u", "h", 22, "/a")),
        ("sftp://h/a/b/", SftpAddress(None, "h", 22, "/a/b")),
        ("sftp://u@h:2222//a//b", SftpAddress("u", "h", 2222, "/a/b")),
        ("sftp://u@[::1]:22/a", SftpAddress("u", "::1", 22, "/a")),
        ("sftp://a%40b@H.example/x%20y%23", SftpAddress("a@b", "h.example", 22, "/x y#")),
        (
            "sftp://u@h/a?identity_file=/k%26&known_hosts=/h&timeout=2min&retry_for=0s",
            SftpAddress("u", "h", 22, "/a", "/k&", "/h", 120, 0),
        ),
    ],
)
def test_addresses_are_read_and_written(url: str, expected: SftpAddress) -> None:
    assert parse_address(url) == expected
    assert parse_address(expected.address) == expected


def test_the_name_for_people_has_no_options() -> None:
    place = parse_address("sftp://u@h:22/a/b?timeout=5s&identity_file=/k")
    assert place.url == "sftp://u@h/a/b"
    assert place.address == "sftp://u@h/a/b?identity_file=/k&timeout=5s"
    assert parse_address("sftp://u@[::1]:2222/a").host_name == "[::1]:2222"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sftp:///a", "it names no host"),
        ("sftp://-oProxyCommand=x/a", "it names no host"),
        ("sftp://h", "it names no directory below the root, like /backups/main"),
        ("sftp://h/", "it names no directory below the root, like /backups/main"),
        ("sftp:h/a", "it names no host"),
        ("sftp://h:x/a", "port could not be cast to integer value as 'x'"),
        ("sftp://h:0/a", "port 0 is none"),
        ("sftp://h:99999/a", "port out of range 0-65535"),
        ("sftp://[::1/a", "invalid ipv6 url"),
        ("sftp://h/a#b", "it has a '#' in it; in a path that is written %23"),
        ("sftp://h/../a", "its path must be plain: no '.', no '..', no control characters"),
        ("sftp://h/a/%2e%2E/b", "its path must be plain: no '.', no '..', no control characters"),
        ("sftp://h/a%00", "its path must be plain: no '.', no '..', no control characters"),
        ("sftp://h/a?x", "what follows '?' is no list of option=value"),
        ("sftp://h/a?timeout=5s&timeout=6s", "an option is given twice"),
        (
            "sftp://h/a?password=x",
            "option password is unknown; there are identity_file, known_hosts, timeout, retry_for",
        ),
        ("sftp://h/a?identity_file=k", "identity_file must be an absolute path"),
        ("sftp://h/a?timeout=soon", "timeout is no duration, like 30s"),
        ("sftp://h/a?timeout=0s", "timeout must be 1 to 3600 seconds"),
        ("sftp://h/a?retry_for=2h", "retry_for must be 0 to 3600 seconds"),
    ],
)
def test_what_cannot_be_an_address_is_refused(url: str, why: str) -> None:
    with pytest.raises(BadSftpUrl) as caught:
        parse_address(url)
    assert str(caught.value) == f"cannot use {url!r} as a repository: {why}"
    assert caught.value.hint == 'write it like url = "sftp://pgkeep@box.example.org/backups/main"'


@pytest.mark.parametrize(
    "url", ["sftp://u:s3cret@h/a", "sftp://u:s3c@ret@h:1/a", "sftp://u:s3cret@h:x/a"]
)
def test_a_password_is_refused_and_never_shown(url: str) -> None:
    with pytest.raises(BadSftpUrl) as caught:
        parse_address(url)
    assert "s3c" not in str(caught.value) + str(caught.value.facts())
    assert "sftp://u:***@h" in str(caught.value)


ONE, TWO = base64.b64encode(b"one").decode(), base64.b64encode(b"two").decode()


@pytest.mark.parametrize(
    ("line", "host", "found"),
    [
        (f"h ssh-ed25519 {ONE} comment", "h", ["one"]),
        (f"other,h ssh-ed25519 {ONE}", "h", ["one"]),
        (f"H.Example ssh-ed25519 {ONE}", "h.example", ["one"]),
        (f"h ssh-ed25519 {ONE}", "hh", []),
        (f"h ssh-ed25519 {ONE}", "[h]:2222", []),
        (f"[h]:2222\tssh-ed25519\t{ONE}", "[h]:2222", ["one"]),
        (f"*.example ssh-ed25519 {ONE}", "box.example", ["one"]),
        (f"*.example,!box.example ssh-ed25519 {ONE}", "box.example", []),
        (f"!box.example,*.example ssh-ed25519 {ONE}", "box.example", []),
        (f"@revoked h ssh-ed25519 {ONE}", "h", ["one revoked"]),
        (f"@cert-authority h ssh-ed25519 {ONE}", "h", []),
        (f"# h ssh-ed25519 {ONE}", "h", []),
        ("h ssh-ed25519 not*base64", "h", []),
        ("h ssh-ed25519", "h", []),
        ("|1|x|y ssh-ed25519 " + ONE, "h", []),
        ("|1|x ssh-ed25519 " + ONE, "h", []),
        ("", "h", []),
    ],
)
def test_known_hosts(line: str, host: str, found: list[str]) -> None:
    keys = keys_of(host, [line + "\n", f"[elsewhere]:1 ssh-rsa {TWO}\n"], "file")
    assert [key.blob.decode() + " revoked" * key.revoked for key in keys] == found


def test_hashed_names_and_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    def keygen(*arguments: str) -> str:
        done = subprocess.run(["ssh-keygen", *arguments], capture_output=True, check=True)
        return done.stdout.decode()

    keygen("-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/k")
    kind, blob = (tmp_path / "k.pub").read_text().split()[:2]
    hosts = tmp_path / "hosts"
    hosts.write_text(f"[127.0.0.1]:2222 {kind} {blob}\nother {kind} {blob}\n")
    keygen("-q", "-H", "-f", str(hosts))
    lines = hosts.read_text().splitlines()
    assert all(line.startswith("|1|") for line in lines)
    (found,) = keys_of("[127.0.0.1]:2222", lines, "file")
    assert keys_of("[127.0.0.1]:2223", lines, "file") == []
    assert fingerprint(found.blob) == keygen("-lf", f"{tmp_path}/k.pub").split()[1]


def test_patience_doubles_spreads_and_ends() -> None:
    patience, spent, waits = Patience(20), 0.0, []
    while (wait := patience.wait(spent, 1.0)) is not None:
        waits.append(wait)
        spent += wait
        patience = patience.after()
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])
    assert spent <= 20
    assert Patience(20).wait(0, 0.0) == 0.05
    assert Patience(0).wait(0, 0.5) is None
