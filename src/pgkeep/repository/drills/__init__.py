"""What drills found: their reports, and where the repository keeps them."""
