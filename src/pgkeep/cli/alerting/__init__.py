"""Alerts: the commands and their text."""
