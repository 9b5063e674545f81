"""A cluster made of pages that lives through a year in minutes, and what its backups cost."""
