"""A sample of a restored database: a share of its rows, and whatever these rows reference."""
