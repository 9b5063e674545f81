"""Accidents: the commands that find them and take them back, and their texts."""
