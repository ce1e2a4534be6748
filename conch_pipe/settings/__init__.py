"""What an operator can choose: one TOML file, the environment and systemd credentials become one frozen Settings.

``load()`` is the way in. Does not know which rooms exist behind a URL, nor whether the content of a key, schema or
database is good; that is ``conch-pipe check``.
"""

from conch_pipe.settings.loading import NO_FILE, find, load, origins
from conch_pipe.settings.places import local_path
from conch_pipe.settings.reference import reference, short_file
from conch_pipe.settings.sections import (
    Catalog,
    Disk,
    Files,
    Http,
    Kept,
    Limits,
    Log,
    Objects,
    Runner,
    Schemas,
    Secrets,
    Section,
    Service,
    Settings,
    Spool,
    Ssh,
    Uploads,
    Warehouse,
    Workers,
)

__all__ = [
    "NO_FILE",
    "Catalog",
    "Disk",
    "Files",
    "Http",
    "Kept",
    "Limits",
    "Log",
    "Objects",
    "Runner",
    "Schemas",
    "Secrets",
    "Section",
    "Service",
    "Settings",
    "Spool",
    "Ssh",
    "Uploads",
    "Warehouse",
    "Workers",
    "find",
    "load",
    "local_path",
    "origins",
    "reference",
    "short_file",
]
