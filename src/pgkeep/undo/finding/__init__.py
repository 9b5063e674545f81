"""Finds destructive transactions in WAL, and who they hit by name."""
