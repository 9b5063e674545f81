"""Making a cluster ready to be backed up, and checking that it is: `init` and `check`."""
