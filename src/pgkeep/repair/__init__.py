"""Single pages that fail their checksum, brought back from backups and WAL."""
