"""PostgreSQL on disk: its files, pages and WAL, read without a server."""
