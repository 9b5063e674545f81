"""Bring a cluster back, to any moment that coverage holds."""
