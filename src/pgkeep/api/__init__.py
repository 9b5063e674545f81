"""The HTTP API: users, sessions, rights, routes."""
