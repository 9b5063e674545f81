"""Who did what: the audit log and the evidence that a repository keeps of it."""
