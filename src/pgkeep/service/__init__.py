"""The service: jobs on time, health watched, WAL pushed."""
