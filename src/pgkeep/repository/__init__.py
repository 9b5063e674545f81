"""All that pgkeep knows of stored bytes; nothing of PostgreSQL."""
