"""Tells systemd how the service is: sd_notify(3), one datagram to the socket that it names."""

import contextlib
import socket
from typing import Final

from pgkeep import config_file

_MICROSECONDS: Final = 1_000_000


class Systemd:
    """Says nothing where no systemd listens."""

    def __init__(self) -> None:
        environment = config_file.environment()
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        usec = environment.get("WATCHDOG_USEC", "")
        # Half of the limit, as sd_watchdog_enabled(3) recommends.
        self.watchdog_s = int(usec) / _MICROSECONDS / 2 if usec.isdecimal() else None

    def say(self, *states: str) -> None:
        """Send states like READY=1. What cannot be sent is lost: systemd has limits of its own."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.connect(self._address)
            to.send("\n".join(states).encode())
