"""Records and queue in one SQL database.

What other rooms call is in catalog.py, outgoing.py, access.py and watch.py; what they ask for, in ``queries``; what
runs it, in database.py and what stands below that.
"""

from conch_pipe.catalog.catalog import Catalog
from conch_pipe.catalog.database import Database, DirectDatabase
from conch_pipe.catalog.queries.pushes import AttemptFilter
from conch_pipe.catalog.queries.recordings import RecordingFilter
from conch_pipe.catalog.queries.uploads import Filter
from conch_pipe.catalog.sealing import KeyFile

__all__ = ["AttemptFilter", "Catalog", "Database", "DirectDatabase", "Filter", "KeyFile", "RecordingFilter"]
