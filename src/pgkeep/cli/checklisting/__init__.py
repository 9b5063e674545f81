"""The command that goes through the production checklist."""
