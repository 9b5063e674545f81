"""The commands of the first hour and of keys: init, check, key."""

import getpass
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pgkeep.cli.context import NO, Context, group
from pgkeep.cli.kit.command import key_test

if TYPE_CHECKING:
    from pgkeep.setup.init import InitOptions


def register(app: typer.Typer) -> None:
    app.command("init")(init)
    app.command("check")(check)
    keys = typer.Typer(
        help="The keys that open an encrypted repository.",
        callback=group,
        invoke_without_command=True,
    )
    keys.command("list")(key_list)
    keys.command("add")(key_add)
    keys.command("recovery")(key_recovery)
    keys.command("remove")(key_remove)
    keys.command("test")(key_test)
    app.add_typer(keys, name="key")


_Apply = Annotated[
    bool, typer.Option("--apply", help="Run the ALTER SYSTEM statements and reload.")
]
_Offers = Annotated[
    bool, typer.Option("--offers/--no-offers", help="With --apply: what is merely better as well.")
]
_ReplaceArchiver = Annotated[
    bool, typer.Option("--replace-archiver", help="With --apply: take over from another program.")
]
_WriteConfig = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="First write a starter config there (never over one)."),
]
_Conninfo = Annotated[
    str | None, typer.Option(help="For the starter config: how to connect (no password).")
]
_Url = Annotated[
    str | None, typer.Option(help="For the starter config: where backups are to be kept.")
]
_Encrypt = Annotated[
    bool, typer.Option("--encrypt", help="For the starter config: encrypt the repository.")
]
_NewGeneration = Annotated[
    bool,
    typer.Option(
        "--new-generation", help="After pg_upgrade or initdb: keep the old, go on with this."
    ),
]
_DumpsOnly = Annotated[
    bool,
    typer.Option("--dumps-only", help="For logical backups alone: ask nothing of the server."),
]


def init(  # noqa: PLR0913 - the options of the command
    here: typer.Context,
    *,
    apply: _Apply = False,
    offers: _Offers = True,
    replace_archiver: _ReplaceArchiver = False,
    write_config: _WriteConfig = None,
    conninfo: _Conninfo = None,
    url: _Url = None,
    encrypt: _Encrypt = False,
    new_generation: _NewGeneration = False,
    dumps_only: _DumpsOnly = False,
) -> int:
    """Create the repository; show or apply the settings it needs."""
    from pgkeep.cli.render import setup as render_setup
    from pgkeep.setup.init import InitOptions
    from pgkeep.setup.init import init as run
    from pgkeep.setup.plan import Archiving

    context: Context = here.obj
    if write_config or conninfo or url or encrypt:
        _write_config(context, write_config, conninfo, url, encrypt=encrypt)
    else:
        _write_config_if_there_is_none(context)
    app = context.app
    options = InitOptions(
        cluster=app.cluster_name,
        archiving=Archiving(app.archive_command(), app.settings.objectives.rpo),
        encrypt=app.place.section.encryption != "none",
        apply=apply,
        offers=offers,
        replace_archiver=replace_archiver,
        new_generation=new_generation,
    )
    if dumps_only:
        if apply or replace_archiver:
            raise typer.BadParameter("--dumps-only needs no settings of the server")
        return _for_dumps(context, options)
    with app.connect() as session:
        report = run(session, app, options)
    context.result(report.to_dict(), lambda look: render_setup.init(report, look))
    return 0


def _for_dumps(context: Context, options: "InitOptions") -> int:
    from pgkeep.cli.render import setup as render_setup
    from pgkeep.setup.init import init_for_dumps

    made = init_for_dumps(context.app, options)
    context.result(made.to_dict(), lambda look: render_setup.repository(made, look))
    return 0


def _write_config_if_there_is_none(context: Context) -> None:
    from pgkeep.config_file import ConfigMissing, load

    try:
        load(context.config)
    except ConfigMissing as missing:
        if context.repository is None:
            _write_config(context, missing.looked[0], None, None, encrypt=False)


def _write_config(
    context: Context, path: str | None, conninfo: str | None, url: str | None, *, encrypt: bool
) -> None:
    from pgkeep.config_file import secret_from_environment
    from pgkeep.setup.starter import Starter, write_starter

    starter = Starter(
        conninfo or "",
        url or "",
        context.cluster or "main",
        encrypted=encrypt,
        passphrase=secret_from_environment() if encrypt else None,
    )
    context.config = write_starter(path or context.config or "pgkeep.toml", starter)
    context.note(f"wrote {context.config}")


def check(
    here: typer.Context,
    *,
    no_switch: Annotated[
        bool, typer.Option("--no-switch", help="Don't force a WAL segment to test archiving.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option(help="How long to wait for that segment, like 30s or 2min.")
    ] = None,
    store: Annotated[
        bool,
        typer.Option(
            "--store",
            help="Test the stores alone, and fully: a thousand requests and a large object each.",
        ),
    ] = False,
    rule_321: Annotated[
        bool,
        typer.Option("--321", help="Are there 3 copies on 2 media, 1 off-site, 1 undeletable?"),
    ] = False,
) -> int:
    """Can this cluster be backed up, archived and restored now?

    One line for each thing that this depends on, with its fix.
    """
    from pgkeep.cli.render import setup as render_setup
    from pgkeep.setup.check import Subject
    from pgkeep.setup.check import check as run
    from pgkeep.setup.other_places import Other
    from pgkeep.setup.plan import Archiving
    from pgkeep.units import parse_duration

    context: Context = here.obj
    if store:
        return _check_stores(context)
    if rule_321:
        return _check_321(context)
    app, settings = context.app, context.app.settings
    first, *others = app.writing
    subject = Subject(
        cluster=app.cluster_name,
        connect=app.connect,
        open_cluster=lambda: app.cluster_in(first),
        archiving=lambda: Archiving(app.archive_command(), settings.objectives.rpo),
        secret_is_only_here=lambda: app.secret_is_only_here,
        server_name=settings.server_name,
        data_directory=settings.data_directory,
        pg_bin=settings.pg_bin or None,
        locks=first.section.lock != "none",
        others=tuple(
            Other(place.title, partial(app.cluster_in, place), needed=app.writes_everywhere)
            for place in others
        ),
        switch=not no_switch,
        seconds=min(60, settings.wal_timeout) if timeout is None else parse_duration(timeout),
    )
    report = run(subject, context.progress)
    context.close()
    context.result(report.to_dict(), lambda look: render_setup.check(report, look))
    return 0 if report.is_good else NO


def _check_stores(context: Context) -> int:
    from pgkeep.cli.render import setup as render_setup
    from pgkeep.repository.store.open import open_store
    from pgkeep.setup.check import check_stores

    stores = [open_store(place.address) for place in context.app.places]
    report = check_stores(stores, context.progress)
    context.close()
    context.result(report.to_dict(), lambda look: render_setup.check_stores(report, look))
    return 0 if report.is_good else NO


def _check_321(context: Context) -> int:
    from datetime import UTC, datetime

    from pgkeep.checklist.rows import copies_of
    from pgkeep.cli.render import setup as render_setup

    report = copies_of(context.app, datetime.now(UTC))
    context.result(report.to_dict(), lambda look: render_setup.check(report, look))
    return 0 if report.is_good else NO


def key_list(here: typer.Context) -> None:
    """Show the key slots: what opens the repository."""
    from pgkeep.cli.render import setup as render_setup
    from pgkeep.repository.keys import list_slots

    context: Context = here.obj
    slots = list_slots(context.app.store)
    facts = {"slots": [slot._asdict() for slot in slots]}
    context.result(facts, lambda look: render_setup.slots(slots, look))


def key_add(
    here: typer.Context,
    *,
    new_passphrase_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Holds it as its only line; else you are asked for it."),
    ] = None,
    label: Annotated[str, typer.Option(help="Whose or what it is for.")] = "",
) -> None:
    """Add a passphrase; nothing stored is rewritten."""
    from pgkeep.config_file import secret_from_file
    from pgkeep.repository.keys import add_passphrase

    context: Context = here.obj
    repository = context.app.repository
    new = secret_from_file(new_passphrase_file) if new_passphrase_file else _ask_twice()
    slot = add_passphrase(repository, new, label)
    context.result({"slot": slot}, lambda _: f"added key slot {slot}")
    context.tell_alone("key add")


def _ask_twice() -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter("no terminal to ask on: name a --new-passphrase-file")
    first, second = getpass.getpass("New passphrase: "), getpass.getpass("Once more: ")
    if first != second:
        raise typer.BadParameter("the two passphrases differ: nothing was added")
    return first


def key_recovery(
    here: typer.Context,
    *,
    label: Annotated[str, typer.Option(help="Where it will be kept.")] = "recovery key",
) -> None:
    """Make another printable recovery key and show it, once."""
    from pgkeep.cli.render import setup as render_setup
    from pgkeep.repository.keys import add_recovery_key

    context: Context = here.obj
    key = add_recovery_key(context.app.repository, label)
    context.result({"recovery_key": key}, lambda look: render_setup.recovery_key(key, look))
    context.tell_alone("key recovery")


def key_remove(
    here: typer.Context,
    slot: Annotated[
        str, typer.Argument(metavar="SLOT", help="The slot's id, from pgkeep key list.")
    ],
) -> None:
    """Remove a key slot, never the last one.

    What it opened stays open to the other slots.
    """
    from pgkeep.repository.keys import remove_slot

    context: Context = here.obj
    remove_slot(context.app.store, slot)
    context.result({"removed": slot}, lambda _: f"removed key slot {slot}")
    context.tell_alone("key list")
