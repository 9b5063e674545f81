"""Restore points and commands between them: the commands and their text."""
