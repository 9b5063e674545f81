"""Health of all clusters: the command and its text."""
