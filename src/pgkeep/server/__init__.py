"""PostgreSQL as it runs: programs, sessions, servers to start, watch and throw away."""
