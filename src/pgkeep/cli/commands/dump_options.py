"""The options of the dump commands: many, and several commands share them."""

from pathlib import Path
from typing import Annotated

import typer

Patterns = list[str]

Dump = Annotated[str, typer.Argument(metavar="DUMP", help="An id, its beginning, or latest.")]
Databases = Annotated[
    Patterns | None, typer.Option("--database", "-d", help="Dump this one; may be repeated.")
]
EveryDatabase = Annotated[bool, typer.Option("--all", help="Every database: the default.")]
ExcludeDatabases = Annotated[
    Patterns | None,
    typer.Option("--exclude-database", metavar="PATTERN", help="Of all, not these."),
]
SchemaOnly = Annotated[bool, typer.Option("--schema-only", "-s", help="Definitions, no data.")]
DataOnly = Annotated[bool, typer.Option("--data-only", "-a", help="Data, no definitions.")]
Sections = Annotated[
    Patterns | None, typer.Option("--section", help="pre-data, data or post-data.")
]
Tables = Annotated[
    Patterns | None, typer.Option("--table", "-t", metavar="PATTERN", help="Only these tables.")
]
ExcludeTables = Annotated[
    Patterns | None, typer.Option("--exclude-table", "-T", metavar="PATTERN", help="Not these.")
]
ExcludeData = Annotated[
    Patterns | None,
    typer.Option("--exclude-table-data", metavar="PATTERN", help="Of these, no rows."),
]
Schemas = Annotated[
    Patterns | None, typer.Option("--schema", "-n", metavar="PATTERN", help="Only these.")
]
ExcludeSchemas = Annotated[
    Patterns | None, typer.Option("--exclude-schema", "-N", metavar="PATTERN", help="Not these.")
]
Extensions = Annotated[
    Patterns | None, typer.Option("--extension", "-e", metavar="PATTERN", help="Only these.")
]
FilterFile = Annotated[
    Path | None, typer.Option("--filter", help="A file of include and exclude lines.")
]
LargeObjects = Annotated[
    bool | None,
    typer.Option("--large-objects/--no-large-objects", help="With or without them."),
]
ForeignData = Annotated[
    Patterns | None,
    typer.Option("--include-foreign-data", metavar="PATTERN", help="Of these servers."),
]
RolePasswords = Annotated[
    bool | None,
    typer.Option("--role-passwords/--no-role-passwords", help="Else where the role may read them."),
]
LockWait = Annotated[
    str, typer.Option(help="How long to wait for locked tables; else dump.lock_wait.")
]
Label = Annotated[str, typer.Option(help="A word for people, shown in lists.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, max=256, help="Else one per core.")
]
Scratch = Annotated[
    str, typer.Option(help="Where data passes through, a quarter of a GiB at a time.")
]
Into = Annotated[
    str, typer.Option(metavar="CONNINFO", help="The server; else that of the cluster.")
]
Name = Annotated[str, typer.Option("--name", "-d", help="The new database; else as in the dump.")]
Create = Annotated[
    bool, typer.Option("--create", help="Under its own name: the default without -d.")
]
OneDatabase = Annotated[str, typer.Option(help="Which database of the dump.")]
AllOfDump = Annotated[bool, typer.Option("--all", help="Every database of the dump.")]
NotOfDump = Annotated[
    Patterns | None,
    typer.Option("--exclude-database", metavar="PATTERN", help="With --all: not these."),
]
CreateRoles = Annotated[
    bool, typer.Option("--create-roles", help="Make the roles that are missing.")
]
NoOwner = Annotated[
    bool, typer.Option("--no-owner", help="Everything belongs to the restoring role.")
]
NoPrivileges = Annotated[
    bool, typer.Option("--no-privileges", "-x", help="Without GRANT and REVOKE.")
]
RoleMap = Annotated[Patterns | None, typer.Option(metavar="OLD=NEW", help="Another role for one.")]
TablespaceMap = Annotated[
    Patterns | None, typer.Option(metavar="OLD=NEW", help="Another tablespace for one.")
]
NoTablespaces = Annotated[bool, typer.Option("--no-tablespaces", help="All in the default one.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Swap with the database of that name, and keep it.")
]
Force = Annotated[
    bool, typer.Option("--force", help="With --replace: end the sessions of the old one.")
]
DropOld = Annotated[
    bool, typer.Option("--drop-old", help="With --replace: drop the old one after the swap.")
]
KeepFailed = Annotated[
    bool, typer.Option("--keep-failed", help="Leave what came out wrong, to look at it.")
]
NoAnalyze = Annotated[bool, typer.Option("--no-analyze", help="Gather no statistics afterwards.")]
Masked = Annotated[bool, typer.Option("--masked", help="Mask columns as [dump.masks] says.")]
Sample = Annotated[
    str, typer.Option(help="Only a share of the rows, like 10%, and all that they refer to.")
]
Seed = Annotated[int, typer.Option(help="With --sample: another number, other rows.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, and change nothing.")]
