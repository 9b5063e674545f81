"""How the page looks: one place for the words and colours of health. Colours: assets/pgkeep.css."""

from pathlib import Path
from typing import Final

from pgkeep.health.condition import Level
from pgkeep.health.health import State
from pgkeep.service.jobs.job import JobState

ASSETS: Final = Path(__file__).parent / "assets"
ACCENT: Final = "#1f5fbf"  # what the framework itself draws: focus, switches, progress

# Class, and the sign beside the word: colour never says anything alone.
STATES: Final = {
    State.PROTECTED: ("good", "check_circle"),
    State.AT_RISK: ("warn", "warning"),
    State.IN_DANGER: ("bad", "error"),
    State.UNKNOWN: ("unknown", "help"),
}
LEVELS: Final = {Level.CRITICAL: ("bad", "error"), Level.WARNING: ("warn", "warning")}
JOBS: Final = {
    JobState.WAITING: ("muted", "schedule"),
    JobState.RUNNING: ("accent", "play_circle"),
    JobState.DONE: ("good", "check_circle"),
    JobState.NO: ("bad", "error"),
    JobState.FAILED: ("bad", "error"),
    JobState.CANCELLED: ("muted", "block"),
    JobState.TIMED_OUT: ("bad", "timer_off"),
    JobState.INTERRUPTED: ("warn", "power_off"),
}
