"""Proves that what the repository promises is there and intact."""
