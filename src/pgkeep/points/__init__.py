"""Restore points: names in WAL to come back to."""
