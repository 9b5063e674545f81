"""Worker processes: how they begin and end, and how they leave room for others."""
