"""What WAL says that transactions did: rows changed by relation, files made and dropped."""
