"""What a cluster holds at a moment, by name: taken from the server, found in the repository."""
