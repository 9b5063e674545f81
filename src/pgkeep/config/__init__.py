"""The config: every option of pgkeep.toml, declared once."""
