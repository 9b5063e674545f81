"""Gathers what a runbook is written from. What cannot be asked is said on the page.

A runbook is never refused because something is away: that may be the very day it is needed.
"""

import os
import pwd
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from msgspec import structs

from pgkeep import __version__
from pgkeep.app import NO_FILE, App
from pgkeep.config.shown import harmless, harmless_command, toml, without_secrets
from pgkeep.coverage.listing import Listing, list_cluster
from pgkeep.errors import PgkeepError
from pgkeep.places import Place as Configured
from pgkeep.repository import catalog, dumps
from pgkeep.repository.keys import list_slots
from pgkeep.repository.marker import ENCRYPTED, read_marker
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.open import make_store
from pgkeep.runbook.facts import Facts, Measured, Place, Server, Slot, Thing
from pgkeep.server.binaries import PgToolsMissing, find_binaries
from pgkeep.server.connecting import redacted
from pgkeep.server.facts import ServerFacts
from pgkeep.setup.init import user_name

_Answer = TypeVar("_Answer")
# What a table of the config may say of how to get to a store; the rest is not for this page.
_TOLD = ("endpoint", "region", "account", "profile", "credentials_file", "ca_file", "proxy",
         "identity_file", "known_hosts", "lock")  # fmt: skip


def look(app: App, now: datetime) -> Facts:
    """Ask config, repositories and server. Raise only what is wrong with the config."""
    troubles: list[str] = []
    folder = _tried(troubles, lambda: app.cluster_to_read, None)
    listing = _tried(troubles, lambda: list_cluster(folder), None) if folder else None
    name = app.cluster_name
    return Facts(
        cluster=name,
        written_at=now,
        host=os.uname().nodename,
        user=user_name(os.geteuid()),
        version=__version__,
        python=sys.version.split()[0],
        config_file=app.loaded.file,
        config_text=config_text(app),
        places=tuple(map(_place, app.configured)),
        server=_server(app, folder, listing, troubles),
        restorable_from=_oldest(listing),
        restorable_to=_utc(listing.newest) if listing else None,
        backup=_backup(listing),
        dump=_tried(troubles, lambda: _dump(folder), None) if folder else None,
        measured=_measured(listing),
        troubles=tuple(troubles),
    )


def config_text(app: App) -> str:
    """Return the config as TOML, without secrets."""
    if app.loaded.file == NO_FILE:
        return "# there was no config: everything was given on the command line\n"
    return toml(without_secrets(app.loaded.table, redacted))


def _tried(troubles: list[str], ask: Callable[[], _Answer], otherwise: _Answer) -> _Answer:
    try:
        return ask()
    except PgkeepError as error:
        troubles.append(str(error))
        return otherwise


def _place(place: Configured) -> Place:
    section = place.section
    told = {name: str(value) for name, value in structs.asdict(section).items()
            if name in _TOLD and value not in ("", "none")}  # fmt: skip
    slots: tuple[Slot, ...] = ()
    encrypted, trouble = None, ""
    try:
        store = make_store(place.address)
        encrypted = read_marker(store).encryption == ENCRYPTED
        slots = tuple(
            Slot(slot.id, slot.kind or "damaged", slot.label, slot.created_at.astimezone(UTC))
            for slot in list_slots(store)
        )
    except PgkeepError as error:
        trouble = str(error)
    return Place(
        name=place.name,
        address=harmless(place.address),
        site=section.site,
        credentials=_credentials(place.address, section),
        encrypted=encrypted,
        opened_by=_opened_by(section),
        slots=slots,
        options=tuple((name, harmless(value)) for name, value in told.items()),
        locks=section.lock != "none",
        trouble=trouble,
    )


def _credentials(address: str, section: Any) -> str:
    """Say what lets one in, and where that is kept."""
    if address.startswith("sftp:"):
        key = section.identity_file or "a key of the user's own, or of an agent"
        return f"an SSH key: {key}"
    if address.startswith(("s3:", "gs:", "az:")):
        file = section.credentials_file
        profile = f", profile {section.profile}" if section.profile else ""
        found = f"the file {file}{profile}" if file else "the environment or the machine's own role"
        return f"credentials for the bucket: {found}"
    return "the disk it is on, mounted at the same place"


def _opened_by(section: Any) -> str:
    if section.passphrase_file:
        return f"the file {section.passphrase_file}"
    if section.passphrase_command:
        return f"the command {harmless_command(section.passphrase_command)}"
    return "$PGKEEP_PASSPHRASE of whoever runs it"


def _server(
    app: App, folder: ClusterFolder | None, listing: Listing | None, troubles: list[str]
) -> Server:
    found = None
    try:
        with app.connect() as session:
            found = session.facts()
    except PgkeepError as error:
        troubles.append(str(error))
    if found is not None:
        return _asked(app, found, listing)
    if folder is not None and listing is not None and listing.backups:
        newest = listing.backups[-1].id
        known = _tried(troubles, lambda: _of_backup(app, folder, newest), None)
        if known is not None:
            return known
    return Server("nobody could be asked", "unknown", app.settings.data_directory)


def _asked(app: App, found: ServerFacts, listing: Listing | None) -> Server:
    directory = app.settings.data_directory or found.data_directory
    settings = found.settings
    backups = listing.backups if listing else []
    return Server(
        source=f"as it said itself on {os.uname().nodename}",
        version=found.version,
        data_directory=directory,
        port=int(settings["port"]),
        sockets=settings.get("unix_socket_directories", ""),
        config_file=settings.get("config_file", ""),
        hba_file=settings.get("hba_file", ""),
        owner=_owner(directory),
        programs=_programs(app, found.major),
        databases=tuple(database.name for database in found.databases),
        tablespaces=tuple(s.path for s in found.tablespaces if s.path.startswith("/")),
        size=backups[-1].size if backups else None,
    )


def _of_backup(app: App, folder: ClusterFolder, id: str) -> Server:
    facts = catalog.read_facts(folder, id)
    directory = app.settings.data_directory or facts.data_directory
    port = facts.settings.get("port", "")
    return Server(
        source=f"as backup {id} knows it from {facts.source_host}",
        version=facts.server_version,
        data_directory=directory,
        port=int(port) if port.isdigit() else None,
        owner=_owner(directory),
        programs=_programs(app, facts.generation.major),
        databases=tuple(database.name for database in facts.databases),
        tablespaces=tuple(s.path for s in facts.tablespaces if s.path.startswith("/")),
        size=facts.size,
    )


def _owner(directory: str) -> str:
    try:
        return pwd.getpwuid(os.stat(directory).st_uid).pw_name
    except (OSError, KeyError):
        return ""


def _programs(app: App, major: int) -> str:
    try:
        return str(Path(find_binaries(major, app.settings.pg_bin or None).directory))
    except PgToolsMissing:
        return app.settings.pg_bin


def _oldest(listing: Listing | None) -> datetime | None:
    """Return from when on everything up to the newest moment can be restored."""
    record = listing.record.newest if listing else None
    latest = record.coverage.latest if record else None
    if listing is None or record is None or latest is None or not latest.spans:
        return None
    return _utc(listing.dates[record.generation.id, latest.timeline, latest.spans[-1]].start)


def _backup(listing: Listing | None) -> Thing | None:
    if listing is None or not listing.backups:
        return None
    newest = max(listing.backups, key=lambda backup: backup.stopped_at)
    return Thing(newest.id, newest.stopped_at.astimezone(UTC), newest.size)


def _dump(folder: ClusterFolder) -> Thing | None:
    found = [d for d in dumps.dumps(folder).dumps if d.all_databases and d.selection.whole]
    if not found:
        return None
    newest = max(found, key=lambda dump: dump.taken_at)
    return Thing(newest.id, newest.taken_at.astimezone(UTC), newest.size)


def _measured(listing: Listing | None) -> Measured | None:
    report = listing.drills.last_passed if listing else None
    if report is None:
        return None
    found = report.measures
    return Measured(
        report.id,
        report.finished_at.astimezone(UTC),
        report.of,
        found.restored_bytes,
        found.restore_s,
        found.recovery_s,
        found.ready_s,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
