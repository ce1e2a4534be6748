"""Records and queue in one SQL database."""

from conch_pipe.catalog.catalog import Catalog
from conch_pipe.catalog.database import Database, DirectDatabase
from conch_pipe.catalog.uploads import Filter

__all__ = ["Catalog", "Database", "DirectDatabase", "Filter"]
