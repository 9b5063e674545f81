"""Older versions of objects in buckets of S3, and their locks."""
