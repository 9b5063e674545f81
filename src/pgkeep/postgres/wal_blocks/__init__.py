"""What WAL says of single blocks: which records changed them, and the whole pages it holds."""
