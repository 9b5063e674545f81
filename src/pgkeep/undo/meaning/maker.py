"""Makes events of what one transaction did: what all kinds of them have in common. Pure."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pgkeep.model.lsn import Lsn
from pgkeep.postgres.wal_blocks.record import Locator
from pgkeep.postgres.wal_changes.piece import PG_CLASS
from pgkeep.undo.event import Event, EventKind, Hit
from pgkeep.undo.meaning.deed import Deed
from pgkeep.undo.meaning.links import OidKey, Traces
from pgkeep.undo.meaning.names import Known, Names


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the events of a find come from."""

    generation: str
    timeline: int
    swapped: frozenset[OidKey] = frozenset()  # indexes that REINDEX CONCURRENTLY replaced


@dataclass(frozen=True)
class Maker:
    """One transaction, and who knows names."""

    deed: Deed
    names: Names
    origin: Origin

    @cached_property
    def traces(self) -> Traces:
        return Traces(self.deed)

    @cached_property
    def dropped(self) -> list[OidKey]:
        """The relations that were there and are gone, in the order of dropping.

        Before 15 a commit names files only: they are of dropped relations when rows of pg_class
        went and none came.
        """
        catalog = [rows for (_, _, file), rows in self.deed.rows.items() if file == PG_CLASS]
        if self.deed.dropped or not any(rows.deleted for rows in catalog):
            return self.traces.dropped
        if self.deed.made or any(rows.inserted for rows in catalog):
            return []
        found = [(file, self.known_file(file)) for file in self.traces.lost]
        return [
            (file[1], known.relation.oid if known else self.names.oid_of(file))
            for file, known in found
        ]

    @cached_property
    def dropped_set(self) -> frozenset[OidKey]:
        return frozenset(self.dropped)

    def stays(self, file: Locator) -> bool:
        """Tell whether a file that was lost is of a relation that was not dropped."""
        known = self.known_file(file)
        oid = known.relation.oid if known else self.names.oid_of(file)
        return (file[1], oid) not in self.dropped_set

    @cached_property
    def replaced(self) -> list[tuple[Locator, Locator]]:
        """Old and new files of relations that were given new ones."""
        return self.traces.replaced(self.stays)

    def learn(self) -> None:
        """Teach `names` whose the files are that this transaction made."""
        traces, links = self.traces, self.names.links
        for new in traces.new_files:
            links[new.database, new.locator[2]] = new.oid
        for old, file in self.replaced:
            known = self.known_file(old)
            oid = known.relation.oid if known else traces.whose(file) or self.names.oid_of(old)
            links[old[1], old[2]] = links[file[1], file[2]] = oid
        self.names.passing.update(traces.passing)
        heads = [key for key in traces.passing if key in traces.locked_oids]
        rewritten = self._rewritten() if traces.is_rewrite and heads else 0
        if rewritten:
            links[min(heads)] = rewritten

    def _rewritten(self) -> int:
        """Return the OID of the one table that was rewritten; 0: there are several, or none."""
        known = [self.known_file(file) for file in self.traces.lost]
        tables = [one.relation.oid for one in known if one and one.relation.kind in "rm"]
        if any(known):
            return tables[0] if len(tables) == 1 else 0
        files = {(file[1], self.names.oid_of(file)) for file in self.traces.lost}
        locked = ((lock.database, lock.oid) for lock in self.traces.locked)
        return next((key[1] for key in locked if key in files), 0)

    def known(self, key: OidKey) -> Known | None:
        """Return the relation with an OID."""
        return self.names.by_oid(self.deed.commit, key)

    def known_file(self, file: Locator) -> Known | None:
        """Return the relation whose file this was."""
        return self.names.by_file(self.deed.commit, file)

    def stranger(self, key: OidKey, file: Locator | None = None, rows: int = -1) -> Hit:
        """Return a relation without a name; an OID of 0 is not known either."""
        tablespace, _, filenode = file or (0, 0, 0)
        name = self.names.database(self.deed.commit, key[0])
        return Hit(key[0], key[1], tablespace, filenode, database=name, rows=rows)

    def unknown(self) -> str:
        """Say why there is no name."""
        census = self.names.before(self.deed.commit)
        if census is None:
            return "no census was taken before it, so nothing tells the name"
        when = f"{census.taken_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"made after the last census, which was taken at {when}: nothing tells the name"

    def event(
        self, kind: EventKind, hits: tuple[Hit, ...], *, stop: Lsn | None = None, **more: Any
    ) -> Event:
        """Make an event, its hits in order. It gets its number later."""
        deed, origin = self.deed, self.origin
        return Event(
            number=0,
            kind=kind,
            xid=deed.xid,
            commit_time=deed.time,
            commit_lsn=deed.commit,
            first_lsn=deed.first,
            stop_lsn=deed.commit if stop is None else stop,
            timeline=origin.timeline,
            generation=origin.generation,
            hits=tuple(sorted(hits, key=lambda hit: (-hit.rows, -hit.size, hit.title))),
            began_after=deed.began_after,
            began_before=deed.began_before,
            whole=deed.whole,
            **more,
        )
