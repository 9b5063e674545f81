"""Masks: which columns of a restored copy hold something else than the source, and what."""
