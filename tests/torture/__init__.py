"""A randomised consistency test: one cluster under load, backed up, killed, expired, restored."""
