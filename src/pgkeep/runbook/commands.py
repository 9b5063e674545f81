"""The command lines of a runbook, with this cluster's paths in them. Pure."""

import shlex
from dataclasses import dataclass

from pgkeep.runbook.facts import Facts, Measured
from pgkeep.units import format_duration, format_size

DIRECTORY = "DATA_DIRECTORY"  # where it is not known, or another server's
NOT_DRILLED = "not measured: run pgkeep drill"
ASK_FOR_KEY = "read -rs PGKEEP_PASSPHRASE && export PGKEEP_PASSPHRASE"
UNMEASURED = "not measured"  # a drill does not do this
SECONDS = "a guess: seconds"
TABLE = "DATABASE.SCHEMA.TABLE"


@dataclass(frozen=True, slots=True)
class Commands:
    """Makes command lines for one cluster."""

    facts: Facts

    def pgkeep(self, *words: str, repository: str = "") -> str:
        """Return a pgkeep command that means this cluster from wherever it is typed."""
        facts = self.facts
        given = ["--config", facts.config_file, "--cluster", facts.cluster]
        given += ["--repository", repository] if repository else []
        return shlex.join(["pgkeep", *given, *words])

    def bare(self, address: str, *words: str) -> str:
        """Return a pgkeep command for a host that has no config: address and key are enough."""
        return shlex.join(["pgkeep", "--repository", address, "--cluster", self.facts.cluster,
                           *words])  # fmt: skip

    def program(self, name: str, *words: str) -> str:
        """Return a command of PostgreSQL's, by its whole path where that is known."""
        folder = self.facts.server.programs
        return shlex.join([f"{folder}/{name}" if folder else name, *words])

    @property
    def directory(self) -> str:
        return self.facts.server.data_directory or DIRECTORY

    @property
    def quoted(self) -> str:
        return shlex.quote(self.directory)

    @staticmethod
    def line(*words: str) -> str:
        return shlex.join(words)

    @property
    def put_aside(self) -> tuple[str, ...]:
        """What is in the way of a restore: the directory, and those of tablespaces."""
        places = (self.directory, *self.facts.server.tablespaces)
        return tuple(shlex.join(["mv", place, f"{place}.broken"]) for place in places)

    @property
    def pending(self) -> str:
        return shlex.join(["ls", f"{self.directory}/pg_wal/archive_status"])

    @property
    def start(self) -> str:
        """A recovery may take long, and what it says is wanted afterwards."""
        log = f"{self.directory}.log"
        options = ("-D", self.directory, "-l", log, "-w", "-t", "86400")
        return self.program("pg_ctl", *options, "start")

    @property
    def start_untouched(self) -> str:
        """Start it with the config it had; a restored directory has its own inside."""
        file = self.facts.server.config_file
        if not file or file.startswith(f"{self.directory}/"):
            return self.start
        options = ("-D", self.directory, "-l", f"{self.directory}.log", "-w")
        return self.program(
            "pg_ctl", *options, "-o", f"-c config_file={shlex.quote(file)}", "start"
        )

    def restart(self, directory: str = "") -> str:
        """With a log: else the server would keep the terminal, and write into it."""
        where = directory or self.directory
        return self.program("pg_ctl", "-D", where, "-l", f"{where}.log", "-w", "restart")

    @property
    def stop(self) -> str:
        return self.program("pg_ctl", "-D", self.directory, "-m", "fast", "stop")

    @property
    def moment(self) -> str:
        """A moment that could be restored when this was written, as --to takes it."""
        at = self.facts.restorable_to
        return f"{at:%Y-%m-%d %H:%M:%S}+00" if at else "TIME"

    def restored_in(self) -> str:
        """Say how long a restore takes, by the last drill."""
        found = self.facts.measured
        if found is None or found.ready_s is None:
            return NOT_DRILLED
        parts = []
        if found.restore_s is not None:
            parts.append(f"writing {format_duration(found.restore_s)}")
        if found.recovery_s is not None:
            parts.append(f"replaying WAL {format_duration(found.recovery_s)}")
        size = format_size(found.restored_bytes)
        told = f" ({', '.join(parts)})" if parts else ""
        total = format_duration(found.ready_s)
        return f"{total} for {size} at the drill of {found.at:%Y-%m-%d}{told}"

    def drilled_in(self) -> str:
        """Say how long it takes to recover a copy to look into."""
        found = self.facts.measured
        if found is None or found.ready_s is None:
            return NOT_DRILLED
        total = format_duration(found.ready_s)
        return f"{total} for a copy of everything at the drill of {found.at:%Y-%m-%d}"


def drill_words(found: Measured) -> str:
    return f"measured by drill {found.id} on {found.at:%Y-%m-%d}"
