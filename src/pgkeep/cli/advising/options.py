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
Size = Annotated[str | None, typer.Option(metavar="SIZE", help="Of the cluster, like 100GB.")]
WalRate = Annotated[
    str | None, typer.Option(metavar="SIZE", help="WAL a day, like 10GB; or a rate, like 2MB/s.")
]
Growth = Annotated[float | None, typer.Option(metavar="PERCENT", help="Of the size, in a year.")]
HostingOption = Annotated[Hosting | None, typer.Option(help="Where the server runs.")]
ProviderOption = Annotated[Provider | None, typer.Option(help="Whose cloud.")]
Retention = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Any second of so long: 14d.")
]
Daily = Annotated[int, typer.Option(min=0, help="Beyond it, one backup a day for so many days.")]
Weekly = Annotated[int, typer.Option(min=0, help="One a week for so many weeks.")]
Monthly = Annotated[int, typer.Option(min=0, help="One a month for so many months.")]
TableLevel = Annotated[
    bool | None,
    typer.Option("--table-level/--no-table-level", help="Single tables, other versions."),
]
Offsite = Annotated[
    bool | None, typer.Option("--offsite/--no-offsite", help="A copy in another place.")
]
Budget = Annotated[
    float | None, typer.Option(metavar="AMOUNT", min=0, help="A month, by list prices.")
]
PgVersion = Annotated[int | None, typer.Option(metavar="MAJOR", help="Of PostgreSQL: 18.")]
Inspect = Annotated[
    bool, typer.Option("--inspect", help="Measure the cluster of the config, or --conninfo's.")
]
Conninfo = Annotated[
    str | None, typer.Option(metavar="CONNINFO", help="The cluster to measure; no password.")
]
Plan = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Not the recommended plan: its name, or its column."),
]
Write = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write its pgkeep.toml: a new file.")
]
Force = Annotated[bool, typer.Option("--force", help="Write over FILE if it is there.")]
Print = Annotated[bool, typer.Option("--print", help="Show its pgkeep.toml and nothing else.")]
Compare = Annotated[
    bool, typer.Option("--compare", help="Show the table of methods, and nothing else.")
]
