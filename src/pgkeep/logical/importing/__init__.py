"""Takes dumps that pg_dump and pg_dumpall wrote by themselves into the repository."""
