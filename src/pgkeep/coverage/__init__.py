"""What a repository has on record of a cluster, and which moments that covers."""
