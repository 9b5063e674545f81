"""Follows what pg_dump writes, cuts it into chunks and stores those that no dump has yet."""
