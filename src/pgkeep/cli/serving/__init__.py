"""The service: the commands and their text."""
