"""Nouns that every part shares: frozen values, no input or output."""
