"""What is asked of stores: counted, and what it costs."""
