"""What one backup contains: facts, tables, and the object that holds both."""
