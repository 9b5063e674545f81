"""The command that tries the recovery kit."""
