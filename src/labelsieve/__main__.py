"""`python -m labelsieve` is the command line."""

from .cli.main import run

run()
