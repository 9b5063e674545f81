"""Makes dumps of running servers."""
