"""Packs from the outside: chunks found, read, moved; whose packs they are."""
