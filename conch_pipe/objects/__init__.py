"""Raw copies of uploads under keys of our own."""

from conch_pipe.objects.folder import FolderObjects
from conch_pipe.objects.memory import MemoryObjects

__all__ = ["FolderObjects", "MemoryObjects"]
