"""Records and queue in one SQL database."""

from conch_pipe.catalog.catalog import Catalog
from conch_pipe.catalog.database import Database, DirectDatabase
from conch_pipe.catalog.pushes import AttemptFilter
from conch_pipe.catalog.recordings import RecordingFilter
from conch_pipe.catalog.sealing import KeyFile
from conch_pipe.catalog.uploads import Filter

__all__ = ["AttemptFilter", "Catalog", "Database", "DirectDatabase", "Filter", "KeyFile", "RecordingFilter"]
