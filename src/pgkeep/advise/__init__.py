"""Which backups are needed, how often, at what cost."""
