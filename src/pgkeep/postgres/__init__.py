"""All that pgkeep knows of PostgreSQL; nothing of repositories."""
