"""What a cluster holds, written down for later: the commands and their text."""
