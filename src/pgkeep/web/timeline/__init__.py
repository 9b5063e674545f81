"""The timeline of a cluster: facts, drawing, answers about one moment."""
