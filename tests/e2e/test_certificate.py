"""The certificate that is shown: told of before it ends, and renewed in the running service."""

import socket
import ssl
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

from support.apis import serve
from support.certificates import make_certificate
from support.service import Service
from support.wait import wait_for


def shown_by(service: Service) -> str:
    """Return the certificate that the service shows whoever connects."""
    host, _, port = service.address.removeprefix("https://").partition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=60).strip()


def test_a_certificate_is_told_of_before_it_ends_and_renewed_without_a_restart(
    tmp_path: Path,
) -> None:
    certificate, key = make_certificate(tmp_path, timedelta(days=9, hours=1))
    more = f'look_every = "1s"\ntls_certificate = "{certificate}"\ntls_key = "{key}"'
    serve(tmp_path, more).board.close()
    service = Service(tmp_path / "pgkeep.toml", tmp_path / "state").start(page=True)
    try:
        wait_for(lambda: "UTC, in 10 d; put a new one into" in service.said, what=service.said)
        told = service.run("status").stdout + service.run("status").stderr
        assert "the TLS certificate of the page ends at" in told
        assert shown_by(service) == certificate.read_text().strip()

        before, right = certificate.read_text(), key.read_text()
        key.write_text("half of a renewal")
        wait_for(lambda: "renewed TLS certificate is not used" in service.said, what=service.said)
        assert shown_by(service) == before.strip(), "the old pair goes on"
        key.write_text(right)

        make_certificate(tmp_path)
        renewed = certificate.read_text().strip()
        wait_for(lambda: shown_by(service) == renewed, what="the renewed certificate")
        assert "certificate" not in service.run("status").stderr
        _open_without_greeting(service)
    finally:
        service.stop()


def _open_without_greeting(service: Service) -> None:
    """Connect more often than the service may open files, without ever beginning TLS."""
    host, _, port = service.address.removeprefix("https://").partition(":")
    before = service.open_files
    with ExitStack() as stack:
        for _ in range(400):
            last = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
        with suppress(ConnectionError):
            assert last.recv(1) == b"", "it is closed at once"
        assert service.open_files - before < 300, "jobs need files too"
