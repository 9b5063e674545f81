"""Copies one cluster's part of a repository to another store, in an order that is never a lie.

A manifest is sent when everything that it names is durable at the target, so whatever stops a copy,
all that the target lists is whole; the next copy sends what is missing. Nothing is deleted at
either end, but for the copy's own locks.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

from pgkeep.progress import Progress, Silent
from pgkeep.replicate.plan import EVERYTHING, Batch, Choice, CopyPlan, Send, plan_copy
from pgkeep.replicate.report import CopyReport, Trouble
from pgkeep.replicate.send import Sender, Sent
from pgkeep.replicate.survey import Survey, look, with_packs
from pgkeep.replicate.threads import Threads
from pgkeep.repository import names
from pgkeep.repository.claims import locks
from pgkeep.repository.claims.locks import Lock
from pgkeep.repository.copies.identity import demand_copies, demand_two_places, same_place
from pgkeep.repository.copies.object_names import ObjectKind
from pgkeep.repository.repository import ClusterFolder
from pgkeep.repository.store.base import BlobMissing, StoreFailed
from pgkeep.workers.throttle import SharedRate

Choose = Callable[[], Choice]


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How to copy."""

    jobs: int = 1  # threads
    rate: int = 0  # bytes a second, all threads together; 0: no limit
    verify: bool = False  # read again at the target what was sent
    choose: Choose = lambda: EVERYTHING  # asked while nobody can expire at either end


def preview(source: ClusterFolder, target: ClusterFolder, options: CopyOptions) -> CopyReport:
    """Return what a copy would do. Only reads."""
    _demand(source, target)
    found, plan = _plan(source, target, options.choose, lambda: None)
    return CopyReport(
        source.name, source.store.url, target.store.url, plan, True, troubles=_unsendable(found)
    )


def run(
    source: ClusterFolder,
    target: ClusterFolder,
    options: CopyOptions = CopyOptions(),
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> CopyReport:
    """Copy what the target lacks; what cannot be copied is in the report, and never raised.

    Raise CopyRefused, LockTaken, LockLost, Unconfirmed, or what a store raises when it fails: then
    what has arrived stays, and the next copy goes on from there.
    """
    progress, began = progress or Silent(), clock()
    _demand(source, target)
    with ExitStack() as stack:
        held = _hold(source, target, stack, progress)
        progress.phase("looking at both ends")
        found, plan = _plan(source, target, options.choose, held.beat)
        threads = stack.enter_context(Threads(options.jobs))
        rate = SharedRate(options.rate)
        sender = Sender(
            source.repository,
            target.repository,
            lambda count: rate.take(count, threads.stopped.is_set),
            options.verify,
        )
        job = _Job(source, target, sender, threads, held, progress)
        job.troubles += _unsendable(found)
        job.carry_out(plan)
    return CopyReport(
        cluster=source.name,
        source=source.store.url,
        target=target.store.url,
        plan=plan,
        dry_run=False,
        sent=tuple(job.sent),
        troubles=tuple(job.troubles),
        listed=tuple(job.listed),
        gone=tuple(job.gone),
        notes=tuple(held.notes),
        verified=options.verify,
        duration_s=clock() - began,
    )


def _demand(source: ClusterFolder, target: ClusterFolder) -> None:
    demand_two_places(source.store, target.store)
    demand_copies(source.repository, target.repository)


def _plan(
    source: ClusterFolder, target: ClusterFolder, choose: Choose, beat: Callable[[], None]
) -> tuple[Survey, CopyPlan]:
    choice = choose()
    found = look(source, target, beat)
    with_packs(source, target, found, choice, beat)
    return found, plan_copy(found.ends, choice)


def _unsendable(found: Survey) -> tuple[Trouble, ...]:
    return tuple(Trouble(bad.name, bad.why) for bad in found.unsendable)


@dataclass
class _Held:
    """The locks of a copy."""

    target: Lock
    source: Lock | None  # None: nothing can be written at the source
    notes: list[str] = field(default_factory=list)

    def beat(self) -> None:
        self.target.beat()
        if self.source is not None:
            self.source.beat()

    def check(self) -> None:
        """Raise LockLost unless nobody can have expired anything at the target meanwhile."""
        self.target.check()


def _hold(
    source: ClusterFolder, target: ClusterFolder, stack: ExitStack, progress: Progress
) -> _Held:
    """Keep what is copied from being deleted, at both ends."""

    def waiting(command: str) -> None:
        progress.note(f"waiting for {command!r} to end")

    # At the target packs lie about that no manifest names yet; and two copies to one target would
    # only send everything twice.
    wanted = locks.hold(target, "copy-to", "pgkeep copy", {"expire", "copy-to"}, waiting=waiting)
    ours = stack.enter_context(wanted)
    try:
        source.store.stat(ours.name)
    except BlobMissing:
        pass
    else:  # our own lock, seen by another address: through a mount, or another name of a host
        raise same_place(source.store, target.store)
    held = _Held(ours, None)
    try:
        theirs = locks.hold(source, "copy-from", "pgkeep copy", {"expire"}, waiting=waiting)
        held.source = stack.enter_context(theirs)
    except StoreFailed as error:
        why = f"nothing can be written at the source, so an expire may delete meanwhile: {error}"
        held.notes.append(why)
        progress.note(why)
    dead = [*ours.took_over, *(held.source.took_over if held.source else ())]
    held.notes += [f"took over from {one}, which is gone" for one in dead]
    return held


@dataclass
class _Job:
    """One copy being carried out."""

    source: ClusterFolder
    target: ClusterFolder
    sender: Sender
    threads: Threads
    held: _Held
    progress: Progress
    sent: list[Sent] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    failed: dict[str, Sent] = field(default_factory=dict)  # by name
    done: int = 0  # bytes
    secured: bool = False

    def carry_out(self, plan: CopyPlan) -> None:
        if plan.batches:
            self.progress.phase("copying", plan.size)
        for batch in plan.batches:
            self.progress.detail(batch.title)
            self._batch(batch)

    def _batch(self, batch: Batch) -> None:
        bad = [one for one in self._each(batch.first) if not one.arrived]
        self.failed.update((one.send.name, one) for one in bad)
        if batch.thing:
            bad += [self.failed[name] for name in batch.needs if name in self.failed]
        if bad and batch.thing:
            self._give_up(batch, bad)
            return
        self.troubles += (Trouble(one.send.name, one.why) for one in bad)
        for send in batch.then:
            if send.kind is ObjectKind.MANIFEST:
                self._before_manifest()
            bad = [one for one in self._each([send]) if not one.arrived]
            if bad and send.kind is ObjectKind.MANIFEST:
                self._give_up(batch, bad)
                return
            self.troubles += (Trouble(one.send.name, one.why) for one in bad)
        if batch.thing:
            self.listed.append(batch.thing)

    def _each(self, sends: Iterable[Send]) -> list[Sent]:
        """Send objects; return what became of them. Note what arrived."""
        found = []
        for one in self.threads.carry_out(sends, self.sender.send, self.held.beat):
            found.append(one)
            if one.arrived:
                self.sent.append(one)
            self.done += one.send.size
            self.progress.advance(self.done)
        return found

    def _before_manifest(self) -> None:
        """Make sure that what the manifest names is there, and stays."""
        # Should we have slept, an expire may have taken the lock and our packs for orphans.
        self.held.check()
        if not self.secured:
            # What others have stored was seen in the listing, perhaps before it was durable.
            cluster = self.target.name
            for prefix in (names.packs_prefix(cluster), f"{names.cluster_prefix(cluster)}wal/"):
                self.target.store.secure(prefix)
            self.secured = True

    def _give_up(self, batch: Batch, bad: list[Sent]) -> None:
        """Leave a backup or dump out of the target's list. If it was deleted, nothing is wrong."""
        (manifest,) = (s for s in batch.then if s.kind is ObjectKind.MANIFEST)
        try:
            self.source.store.stat(manifest.name)
        except BlobMissing:
            self.gone.append(batch.thing)
            return
        self.troubles += (Trouble(one.send.name, one.why, batch.thing) for one in bad)
