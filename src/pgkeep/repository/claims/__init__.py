"""Who claims what: who is at work on a cluster, and which server archives it."""
