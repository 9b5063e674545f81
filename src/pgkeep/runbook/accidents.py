"""What to do when data went wrong while the server goes on: tables, databases, migrations. Pure."""

from pgkeep.runbook.commands import SECONDS, TABLE, UNMEASURED, Commands
from pgkeep.runbook.page import Section, Step, Words
from pgkeep.runbook.rebuilding import HEAR, up_again


def table(c: Commands) -> Section:
    return Section("table-dropped", "One table was dropped, emptied or spoilt", (
        Words("The server goes on running; nothing else is touched. Until it is done, let nobody "
              "write to that table. Every command shows what it will do, then asks; without a "
              "terminal add --yes."),
        Step("Find the accident. Its number, in the first column, replaces the 1 behind --event "
             "below. 2h is how far back to look; with --min-rows 1 small ones are listed, too.",
             (c.pgkeep("undo", "find", "--since", "2h"),), UNMEASURED),
        Step("See what would come back.",
             (c.pgkeep("undo", "table", TABLE, "--event", "1", "--dry-run"),), c.drilled_in()),
        Step("A table that is gone: make it anew, with all it had.",
             (c.pgkeep("undo", "table", TABLE, "--event", "1", "--into-place"),), c.drilled_in()),
        Step("A table that is there, and rows are missing: insert those.",
             (c.pgkeep("undo", "table", TABLE, "--event", "1", "--merge", "missing"),),
             c.drilled_in()),
        Step("Rows that have wrong values, or in doubt: beside it, as a new table of the same "
             "schema. Compare, and mend the rows with an UPDATE that takes its values.",
             (c.pgkeep("undo", "table", TABLE, "--event", "1", "--as", "as_it_was"),),
             c.drilled_in()),
        Step("The accident is not listed: with the time before it instead of --event.",
             (c.pgkeep("undo", "table", TABLE, "--before", "TIME", "--dry-run"),), c.drilled_in()),
        Step("Without WAL of that time, from the newest dump, into a new database.",
             (c.pgkeep("dump", "restore", "latest", "--database", "DATABASE", "--name",
                       "as_it_was"),), UNMEASURED),
    ))  # fmt: skip


def database(c: Commands) -> Section:
    return Section("database-dropped", "A database was dropped", (
        Words("The other databases go on. A database that was made anew under that name is left "
              "as it is: add --as NEW_NAME then."),
        Step("When was it? 2h is how far back to look.",
             (c.pgkeep("undo", "find", "--kind", "drop-database", "--since", "2h"),), UNMEASURED),
        Step("Hear what will be done; then do it. It asks first; without a terminal add --yes.",
             (c.pgkeep("undo", "database", "DATABASE", "--dry-run"),
              c.pgkeep("undo", "database", "DATABASE")), c.drilled_in()),
        Step("If no name is on record of it, because it was younger than the last backup: with the "
             "XID of its line in that list.",
             (c.pgkeep("undo", "database", "DATABASE", "--before", "xid:XID"),), c.drilled_in()),
        Step("Without WAL of that time: from the newest dump.",
             (c.pgkeep("dump", "restore", "latest", "--database", "DATABASE"),), UNMEASURED),
    ))  # fmt: skip


def migration(c: Commands) -> Section:
    target = "name:POINT"
    back = ("restore", "--target-dir", c.directory, "--keep-archiving", "--to")
    return Section("bad-migration", "A migration went wrong", (
        Words("POINT is the restore point that was set before it (pgkeep point, pgkeep run). "
              "Without one, give the time before it began in place of name:POINT, for example "
              f"'{c.moment}', the newest that could be restored when this was written."),
        Step("Look at the moment before it, in a copy that goes away by itself.",
             (c.pgkeep("undo", "sandbox", "--at", target, "--for", "2h"),), c.drilled_in()),
        Step("If a few tables are all that is wrong: bring them back one by one, as in the "
             "section on tables, with --at instead of --event.",
             (c.pgkeep("undo", "table", TABLE, "--at", target, "--dry-run"),), c.drilled_in()),
        Step("If everything must go back: stop the server and put its directory aside. It keeps "
             "what was written since.", (c.stop, *c.put_aside), SECONDS),
        Step(HEAR, (c.pgkeep(*back, target, "--dry-run"), c.pgkeep(*back, target)),
             c.restored_in()),
        *up_again(c),
    ))  # fmt: skip
