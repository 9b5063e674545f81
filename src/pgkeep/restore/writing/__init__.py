"""Putting files on disk: where each goes, how the work is divided, in what order it is durable."""
