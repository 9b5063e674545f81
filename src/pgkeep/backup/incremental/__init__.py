"""What a backup takes over from the one before, and how it knows what has changed."""
