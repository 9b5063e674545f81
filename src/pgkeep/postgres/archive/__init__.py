"""The archives that pg_dump writes: docs/formats/pg-dump-archive.md."""
