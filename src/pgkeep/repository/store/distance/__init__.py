"""What hides the way to a distant store: calls and blobs under way together."""
