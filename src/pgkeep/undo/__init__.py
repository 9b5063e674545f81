"""Find an accident in WAL, and bring back what it destroyed."""
