"""What can be wished for, as options of the command line."""

from typing import Annotated

import typer

from pgkeep.advise.wishes import Hosting, Provider

Rpo = Annotated[
    str | None, typer.Option(metavar="DURATION", help="The most that may be lost: 5min.")
]
Rto = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="The longest a restore may take: 4h."),
]
Size = Annotated[str | None, typer.Option(help="Of the cluster, like 100GB.")]
WalRate = Annotated[str | None, typer.Option(metavar="SIZE", help="WAL a day, like 10GB.")]
Growth = Annotated[float, typer.Option(metavar="PERCENT", help="Of the size, in a year.")]
HostingOption = Annotated[Hosting | None, typer.Option(help="Where the server runs.")]
ProviderOption = Annotated[Provider | None, typer.Option(help="Whose cloud.")]
Retention = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Any second of so long: 14d.")
]
TableLevel = Annotated[
    bool | None,
    typer.Option("--table-level/--no-table-level", help="Single tables, other versions."),
]
Offsite = Annotated[
    bool | None, typer.Option("--offsite/--no-offsite", help="A copy in another place.")
]
Budget = Annotated[float | None, typer.Option(metavar="AMOUNT", help="A month, by list prices.")]
PgVersion = Annotated[int, typer.Option(help="The major version of PostgreSQL.")]
Inspect = Annotated[
    bool, typer.Option("--inspect", help="Measure the cluster of the config instead of asking.")
]
Plan = Annotated[
    str | None, typer.Option(metavar="NAME", help="Not the recommended plan but this one.")
]
Write = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write its pgkeep.toml: a new file.")
]
Compare = Annotated[
    bool, typer.Option("--compare", help="Show the table of methods, and nothing else.")
]
