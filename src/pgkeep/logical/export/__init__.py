"""Writes dumps as files that PostgreSQL's own programs read."""
