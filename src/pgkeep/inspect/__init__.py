"""What a data directory will do when it is started, read without starting anything."""
