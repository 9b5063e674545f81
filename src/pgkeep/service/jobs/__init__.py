"""Jobs: what they are, how they run, what became of them."""
