"""`python -m pgkeep` is the `pgkeep` command."""

from pgkeep.cli.main import main

main()
