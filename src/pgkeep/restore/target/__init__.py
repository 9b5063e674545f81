"""Where a recovery target lies in the archived WAL, and why it may not be reachable."""
