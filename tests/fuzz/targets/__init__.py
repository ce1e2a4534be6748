"""Functions of bytes for a coverage-guided search, one module each, and how to find them.

A module has ``seeds()``, inputs to begin with, and ``one(data)``, which raises when a promise is broken. Bytes that are
refused as they should be are no finding.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

_MOST = 16  # messages of one input; more are cheaper to find in several inputs
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def target(name: str) -> ModuleType:
    """The module of a target."""
    return import_module(f"{__name__}.{name}")


def in_messages(messages: Iterable[tuple[int, bytes]]) -> bytes:
    """Numbers and payloads as one input: each message behind its length in two bytes."""
    return b"".join((1 + len(body)).to_bytes(2, "big") + bytes((number,)) + body for number, body in messages)


def some_messages(data: bytes) -> list[tuple[int, bytes]]:
    """Any input as messages."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + 2 < len(data) and len(found) < _MOST:
        size = int.from_bytes(data[at : at + 2], "big")
        message = data[at + 2 : at + 2 + size]
        if message:
            found.append((message[0], message[1:]))
        at += 2 + size
    return found
