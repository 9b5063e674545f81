"""Restore tests: restore for real, start it, check it, report it."""
