"""What one run is like: all of it follows from its seed. Pure."""

import random
from dataclasses import dataclass

MAJORS = (15, 17, 18)


@dataclass(frozen=True, slots=True)
class Setting:
    """One kind of cluster and repository."""

    seed: int
    major: int
    summarize: bool  # the server writes WAL summaries
    encrypted: bool
    segment_mb: int
    jobs: int
    window_s: int  # that expire keeps restorable
    minimum: int  # backups that it keeps whatever their age
    overlays: int  # percent, as [clusters.NAME.cleaning] takes them
    live: int
    writers: int

    @classmethod
    def chosen(cls, seed: int, major: int | None = None) -> "Setting":
        """Return what a seed stands for; `major` overrides its choice alone."""
        chance = random.Random(f"{seed}:setting")
        seeded = chance.choice(MAJORS)
        summarize = chance.random() < 0.6
        encrypted = chance.random() < 0.5
        version = major or seeded
        return cls(
            seed,
            version,
            summarize and version >= 17,
            encrypted,
            segment_mb=chance.choice([1, 1, 4, 16]),
            jobs=chance.choice([1, 2, 3]),
            window_s=chance.choice([20, 45, 90]),
            minimum=chance.choice([1, 2, 3]),
            overlays=chance.choice([1, 20, 50, 100]),
            live=chance.choice([0, 50, 90]),
            writers=chance.choice([2, 3]),
        )

    def config(self) -> str:
        """Return the part of pgkeep.toml that depends on it, to follow [clusters.main]."""
        return (
            f"[clusters.main.retention]\nwindow = '{self.window_s}s'\nminimum = {self.minimum}\n"
            f"[clusters.main.cleaning]\noverlays = {self.overlays}\nlive = {self.live}\n"
        )
