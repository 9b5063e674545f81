"""What may be asked of pgkeep from afar."""
