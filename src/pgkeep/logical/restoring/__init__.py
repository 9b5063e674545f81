"""Restores a dump into a database that nobody sees before it is whole."""
