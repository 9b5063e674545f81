"""The adviser: the command, its questions and its text."""
