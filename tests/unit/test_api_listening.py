"""Where the service may listen, and what it says where it may not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgkeep.api.errors import ListeningRefused
from pgkeep.api.gate.certificate import Certificate
from pgkeep.api.listening import host_of, listening
from pgkeep.config.service import ServiceConfig
from support.certificates import make_certificate


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8426", "http://127.0.0.1:8426"),
        ("localhost:8426", "http://127.0.0.1:8426"),
        ("127.1.2.3:1", "http://127.1.2.3:1"),
        ("[::1]:8426", "http://[::1]:8426"),
        ("unix:/run/pgkeep/page.sock", "unix:/run/pgkeep/page.sock"),
    ],
)
def test_this_host_takes_neither_users_nor_tls(listen: str, url: str) -> None:
    found = listening(ServiceConfig(listen=listen), has_users=False)
    assert found.url == url
    assert found.is_local
    assert found.may_be_called("localhost:8426")
    assert not found.may_be_called("evil.example")


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("8426", "it is no address with a port"),
        ("127.0.0.1", "it is no address with a port"),
        ("127.0.0.1:99999", "it is no address with a port"),
        ("127.0.0.1:-1", "it is no address with a port"),
        (":8426", "it names no address"),
        ("db.example.com:8426", "'db.example.com' is no IP address"),
        ("[db]:8426", "'db' is no IP address"),
        ("unix:pgkeep.sock", "the path of a socket must be absolute"),
        ("", "it is no address with a port"),
    ],
)
def test_what_is_no_address_is_refused(listen: str, why: str) -> None:
    with pytest.raises(ListeningRefused) as caught:
        listening(ServiceConfig(listen=listen), has_users=True)
    assert str(caught.value) == f"cannot listen on {listen!r}: {why}"
    assert caught.value.hint


@pytest.mark.parametrize("listen", ["0.0.0.0:8426", "[::]:8426", "192.0.2.1:8426"])
def test_wider_takes_users_and_tls(listen: str, tmp_path: Path) -> None:
    plain = ServiceConfig(listen=listen)
    with pytest.raises(ListeningRefused) as caught:
        listening(plain, has_users=False)
    assert caught.value.hint == "make one: pgkeep user add NAME --role admin"
    with pytest.raises(ListeningRefused, match="passwords would cross the network in clear"):
        listening(plain, has_users=True)
    insecure = ServiceConfig(listen=listen, allow_insecure=True)
    with pytest.raises(ListeningRefused, match="there are no users"):
        listening(insecure, has_users=False)
    assert not listening(insecure, has_users=True).is_local
    certificate, key = make_certificate(tmp_path)
    secure = ServiceConfig(listen=listen, tls_certificate=str(certificate), tls_key=str(key))
    found = listening(secure, has_users=True)
    assert found.has_tls
    assert found.url.startswith("https://")


def test_a_certificate_must_be_there_and_fit_its_key(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, stranger = make_certificate(tmp_path / "other")

    def why(tls_certificate: str, tls_key: str) -> str:
        config = ServiceConfig(tls_certificate=tls_certificate, tls_key=tls_key)
        with pytest.raises(ListeningRefused) as caught:
            listening(config, has_users=True)
        return caught.value.why

    assert why(str(certificate), "") == "[service] tls_key is missing"
    assert why("", str(key)) == "[service] tls_certificate is missing"
    gone = tmp_path / "gone"
    assert why(str(certificate), str(gone)).startswith(f"tls_key {gone} cannot be read: No such")
    assert "are no certificate and its key" in why(str(certificate), str(stranger))
    assert "are no certificate and its key" in why(str(key), str(key))
    key.chmod(0o644)
    assert why(str(certificate), str(key)) == f"anybody can read {key}"


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8426", "localhost"),
        ("[::1]:8426", "::1"),
        ("[::1]", "::1"),
        ("backup.example.com.:443", "backup.example.com"),
        ("a:b:c", ""),
        ("", ""),
        ("evil@localhost", "evil@localhost"),
    ],
)
def test_a_host_header_names_a_host(header: str, host: str) -> None:
    assert host_of(header) == host


def test_names_of_a_proxy_are_added() -> None:
    found = listening(ServiceConfig(hosts=["Backup.example.com"]), has_users=False)
    assert found.may_be_called("backup.example.com")
    assert found.may_be_called("127.0.0.1:8426")
    wide = listening(
        ServiceConfig(listen="0.0.0.0:1", allow_insecure=True, hosts=["backup.example.com"]),
        has_users=True,
    )
    assert wide.may_be_called("backup.example.com")
    assert not wide.may_be_called("evil.example")
    assert replace(wide, names=frozenset()).may_be_called("anything")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=14, hours=1), []),
        (timedelta(days=13, hours=1), ["ends at 2026-11-15 00:00 UTC, in 14 d"]),
        (timedelta(minutes=1), ["ends at 2026-11-15 00:00 UTC, in 1 d"]),
        (timedelta(0), ["ended at 2026-11-15 00:00 UTC: browsers refuse it"]),
    ],
)
def test_a_certificate_is_told_of_before_it_ends(
    tmp_path: Path, left: timedelta, said: list[str]
) -> None:
    end = datetime(2026, 11, 15, tzinfo=UTC)
    certificate, key = make_certificate(tmp_path, end=end)
    service = ServiceConfig(tls_certificate=str(certificate), tls_key=str(key))
    found = Certificate(service, lambda: None).troubles(end - left)
    assert found == [
        f"the TLS certificate of the page {one}; put a new one into {certificate}" for one in said
    ]
