"""Functions of bytes for a coverage-guided search, one module each, and how to find them.

A module has ``seeds()``, inputs to begin with, and ``one(data)``, which raises when a promise is broken. Bytes that are
refused as they should be are no finding.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def target(name: str) -> ModuleType:
    """The module of a target."""
    return import_module(f"{__name__}.{name}")
