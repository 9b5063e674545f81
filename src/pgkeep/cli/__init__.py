"""Arguments in, reports out."""
