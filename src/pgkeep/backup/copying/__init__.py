"""The worker processes of a backup: files in, packs out."""
