"""What can be restored now, how recent that is, when it was proven, and what endangers it."""
