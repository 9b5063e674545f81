"""The commands: options in, the work started, a report handed to its renderer."""
