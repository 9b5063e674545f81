"""What a repository costs: by what is stored, and by what is asked of it."""
