"""Copies what a repository holds into another store, sealed as it is."""
