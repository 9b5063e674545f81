"""The command that writes the page for the worst day."""
