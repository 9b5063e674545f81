"""What several tests need: clusters, the command, waiting."""
