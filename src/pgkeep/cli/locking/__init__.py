"""Locks in buckets on the command line: what commands do about them, and how that is told."""
