"""Logical dumps: pg_dump's archives in the repository, and back into servers and files."""
