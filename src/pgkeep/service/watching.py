"""Looks at every cluster's health again and again; one that hangs holds up nobody else."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock, Thread
from typing import Final

from pgkeep.health.health import Health
from pgkeep.health.look import Look, hanging, looked
from pgkeep.service.board import Board

AT_ONCE: Final = 8  # looks that began lately; those that take longer don't count
QUICK: Final = timedelta(seconds=5)
HANGS: Final = timedelta(seconds=90)  # longer than every time limit on the way of a look


@dataclass(slots=True)
class _UnderWay:
    since: datetime
    hangs: bool = False


class Watch:
    """Looks at clusters in threads of its own."""

    def __init__(self, board: Board, look: Look) -> None:
        self._board = board
        self._look = look
        self._lock = Lock()
        self._under_way: dict[str, _UnderWay] = {}
        self._looked: dict[str, datetime] = {}  # when the last look began

    def go_on(self, now: datetime) -> datetime:
        """Begin the looks that are due; return when to call this again."""
        every = timedelta(seconds=max(1, self._board.config.config.service.look_every))
        asked = self._board.asked_to_look()
        due = []
        with self._lock:
            self._keep_behind(now)
            self._give_up(now)
            never = datetime.min.replace(tzinfo=now.tzinfo)
            for cluster in self._board.clusters():
                last = self._looked.get(cluster, never)
                if cluster not in self._under_way and (cluster in asked or now - last >= every):
                    due.append((last, cluster))
            # Those that take long hold nobody up: what hangs may be a host that all have in common.
            quick = sum(now - one.since < QUICK for one in self._under_way.values())
            free = AT_ONCE - quick
            chosen = [cluster for _, cluster in sorted(due)[: max(0, free)]]
            for cluster in chosen:
                self._under_way[cluster] = _UnderWay(now)
                self._looked[cluster] = now
                self._board.looking(cluster)
        for cluster in chosen:
            Thread(target=self._run, args=(cluster,), name=f"look {cluster}", daemon=True).start()
        # The end of a look rings the bell; until then there is nothing to begin.
        return now + (timedelta(seconds=1) if len(due) > len(chosen) else every)

    def _keep_behind(self, now: datetime) -> None:
        """Have nothing lie ahead of a clock that was set back: no look would be due for so long."""
        for one in self._under_way.values():
            one.since = min(one.since, now)
        known = self._board.clusters()
        self._looked = {one: min(self._looked[one], now) for one in known if one in self._looked}

    def _give_up(self, now: datetime) -> None:
        for cluster, one in self._under_way.items():
            if not one.hangs and now - one.since >= HANGS:
                one.hangs = True
                if cluster not in self._board.clusters():
                    continue  # the config has changed meanwhile
                took = (now - one.since).total_seconds()
                self._board.put_health(hanging(cluster, took, self._last(cluster)))

    def _run(self, cluster: str) -> None:
        try:
            health = looked(self._look, cluster, self._last(cluster))
        finally:
            with self._lock:
                self._under_way.pop(cluster, None)
        if cluster in self._board.clusters():  # else the config has changed meanwhile
            self._board.put_health(health)
        self._board.wake()

    def _last(self, cluster: str) -> Health | None:
        return next((one for one in self._board.healths() if one.cluster == cluster), None)
