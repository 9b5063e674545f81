"""Locks in buckets, set and extended so that nobody can delete what retention keeps."""
