"""pgkeep keeps PostgreSQL clusters recoverable."""

__version__ = "0.1.0"
