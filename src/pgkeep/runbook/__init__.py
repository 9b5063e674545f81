"""The page that says how to get everything back when nothing else is left to look it up in."""
