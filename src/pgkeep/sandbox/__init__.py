"""A restored copy on a private server of its own, to look into and to throw away."""
