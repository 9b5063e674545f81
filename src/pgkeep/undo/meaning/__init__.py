"""What records in WAL mean: from numbers to accidents, by name."""
