"""Archive WAL segments and hand them back."""
