"""The server of a sandbox: it recovers, and is stopped and started again afterwards."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pgkeep.progress import Progress
from pgkeep.restore.plan import RestorePlan
from pgkeep.restore.start import Ending, RecoveryFailed, RecoveryOutcome, StartOptions, start
from pgkeep.sandbox.cleaning import end_servers
from pgkeep.sandbox.configure import write_settings
from pgkeep.sandbox.place import Place
from pgkeep.sandbox.request import SandboxServerFailed
from pgkeep.server.binaries import Binaries
from pgkeep.server.instance import FOLLOW_OPTIONS, ServerProcess, ServerWontStart

# xlogrecovery.c, RecoveryRequiresIntParameter; its DETAIL when recovery pauses, and when it ends
_TOO_LOW: Final = re.compile(
    r"(\w+) = \d+ is a lower setting than on the primary server, where its value was (\d+)"
)
_START_S: Final = 600.0  # for a start without recovery: reading a large cluster's first pages
_LAST_LINES: Final = 12  # of the log, in an error
_RAISES: Final = 5  # there are five such settings


@dataclass(frozen=True, slots=True)
class PrivateServer:
    """The server on one sandbox's data directory."""

    place: Place
    plan: RestorePlan
    binaries: Binaries
    environment: tuple[tuple[str, str], ...]  # restore_command may need a passphrase

    def recover(self, settings: Mapping[str, str], progress: Progress) -> RecoveryOutcome:
        """Start it, with the `settings` that are in its file, and follow it to the target.

        A setting that the source has raised since the backup is raised as well: a server that can
        be read while it recovers insists on it. Raise SandboxServerFailed.
        """
        settings = dict(settings)
        for _ in range(_RAISES):
            try:
                return self._recover(progress)
            except RecoveryFailed as error:
                raised = dict(_TOO_LOW.findall(self._log_text()))
                if all(settings.get(name) == value for name, value in raised.items()):
                    raise self._failed(f"{error.why}, {error.reached}") from error
                end_servers(self.place.data_directory)
                settings |= raised
                write_settings(self.place.data_directory, settings)
            except ServerWontStart as error:
                raise self._failed(error.last_words) from error
        return self._recover(progress)

    def start_again(self, outcome: RecoveryOutcome, progress: Progress) -> None:
        """Start it after stop(): a server that was paused replays to its target once more."""
        try:
            if outcome.ending is Ending.PAUSED:
                self._recover(progress)
                return
            server = ServerProcess.start(
                self.binaries,
                self.place.data_directory,
                FOLLOW_OPTIONS,
                log_file=self.place.log_file,
                environment=dict(self.environment),
            )
            server.wait_ready(_START_S)
        except RecoveryFailed as error:
            raise self._failed(f"{error.why}, {error.reached}") from error
        except ServerWontStart as error:
            raise self._failed(error.last_words) from error

    def stop(self) -> None:
        """Shut it down in order; when it is down already that succeeds. Raise ServerWontStop."""
        server = self.find()
        if server is not None:
            server.stop("fast", seconds=int(_START_S))

    def find(self) -> ServerProcess | None:
        """Return the server while it runs."""
        return ServerProcess.attach(self.place.data_directory, log_file=self.place.log_file)

    def _recover(self, progress: Progress) -> RecoveryOutcome:
        options = StartOptions(str(self.place.log_file), environment=self.environment)
        return start(self.plan, self.binaries, options, progress)

    def _failed(self, why: str) -> SandboxServerFailed:
        last = "\n".join(self._log_text().splitlines()[-_LAST_LINES:])
        return SandboxServerFailed(why, str(self.place.root), last)

    def _log_text(self) -> str:
        try:
            return self.place.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""
