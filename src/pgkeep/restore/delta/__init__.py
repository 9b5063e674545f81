"""Restoring over what is there: only what differs is written, what does not belong goes."""
