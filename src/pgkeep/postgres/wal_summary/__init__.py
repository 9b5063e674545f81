"""WAL summaries (PostgreSQL 17+): which blocks changed between two positions in WAL."""
