"""What pages list, as plain rows."""
