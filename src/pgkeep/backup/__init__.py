"""Copy a running cluster into a repository."""
