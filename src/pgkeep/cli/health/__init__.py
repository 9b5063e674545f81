"""Health: the command and its text."""
