"""The looks at a restored copy: each returns a finding."""
