"""The operator's command, conch-pipe: the same catalog, schemas and warehouse as the service, at once and beside it.

Modules here import click and each other at the top and rooms inside functions: ``--help`` must not wait for a database.
"""

from conch_pipe.cli.program import main

__all__ = ["main"]
