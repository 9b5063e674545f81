"""Named blobs: the bytes under a repository."""
