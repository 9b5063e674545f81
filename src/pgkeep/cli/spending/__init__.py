"""What was asked of repositories and what it costs: the command and its text."""
