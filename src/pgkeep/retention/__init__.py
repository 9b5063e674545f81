"""What may go and what must stay: policy, pins, expire and delete."""
