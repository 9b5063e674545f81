"""Restore tests: the command, and its report as text, JSON and a page."""
