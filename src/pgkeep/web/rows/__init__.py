"""What pages list, as plain rows and sentences."""
