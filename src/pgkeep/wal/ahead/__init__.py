"""WAL archived ahead of PostgreSQL's asking, by a process of its own. docs/wal-archiving.md."""
