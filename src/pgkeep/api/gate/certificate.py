"""The certificate that the service shows: for how long, and a renewed one without a restart."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from pgkeep.api.errors import ListeningRefused
from pgkeep.api.listening import check_tls
from pgkeep.config.service import ServiceConfig

_AHEAD: Final = timedelta(days=14)  # time to see it, and to have a new one made
_DAY: Final = timedelta(days=1)


class Certificate:
    """The files of [service], which whoever renews them may change at any time.

    `take` has the server show what is in them from now on; a restart would end jobs and sessions.
    """

    def __init__(self, service: ServiceConfig, take: Callable[[], object]) -> None:
        self._service = service
        self._take = take
        self._taken = self._mark()
        self._ends = self._read_end()

    def troubles(self, now: datetime) -> list[str]:
        """Take a renewed certificate; return what is wrong with the one that is shown."""
        troubles = []
        try:
            self._renew()
        except ListeningRefused as error:
            troubles.append(f"the renewed TLS certificate is not used: {error.why}; {error.advice}")
        path, left = self._service.tls_certificate, self._ends - now
        at = f"{self._ends:%Y-%m-%d %H:%M} UTC"
        if left <= timedelta(0):
            said = f"the TLS certificate of the page ended at {at}: browsers refuse it"
            troubles.append(f"{said}; put a new one into {path}")
        elif left <= _AHEAD:
            said = f"the TLS certificate of the page ends at {at}, in {max(1, -(-left // _DAY))} d"
            troubles.append(f"{said}; put a new one into {path}")
        return troubles

    def _renew(self) -> None:
        mark = self._mark()
        if mark == self._taken:
            return
        # Before the server has it: half of a new pair would end TLS for everybody.
        check_tls(self._service)
        self._take()
        self._ends = self._read_end()
        self._taken = mark

    def _mark(self) -> tuple[tuple[int, int], ...]:
        found = []
        for path in (self._service.tls_certificate, self._service.tls_key):
            try:
                status = os.stat(path)
            except OSError:
                found.append((0, 0))
                continue
            found.append((status.st_ino, status.st_mtime_ns))
        return tuple(found)

    def _read_end(self) -> datetime:
        """Return until when the first certificate of the file holds: the service's own."""
        from cryptography import x509

        with open(self._service.tls_certificate, "rb") as file:
            try:
                return x509.load_pem_x509_certificates(file.read())[0].not_valid_after_utc
            except ValueError:  # stricter than the server is, which shows it
                return datetime.max.replace(tzinfo=UTC)
