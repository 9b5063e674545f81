"""Stores in buckets: S3 and its clones, Google Cloud Storage, Azure Blob Storage."""
