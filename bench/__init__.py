"""The project's own benchmark: real data, peers in the same run."""
