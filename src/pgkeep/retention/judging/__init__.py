"""The parts of a retention plan: living branches, ranges of WAL, and the proof of both. Pure."""
