"""The running service as another process sees it: ``run/service.json`` and the lock beside it.

The service holds an flock on ``run/lock`` while it lives, and writes the file when it listens.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from conch_pipe.errors import Code, PipeError
from conch_pipe.presence import held


@dataclass(frozen=True, slots=True)
class Running:
    """A service that listens."""

    pid: int
    ssh_port: int
    started_at: datetime | None
    more: dict[str, Any]  # what else the service tells of itself


def running(state: Path) -> Running | None:
    """The service of a state folder; None when there is none, or it does not listen yet.

    A crash leaves the file behind, so the lock decides. :raises OSError: this user may not look.
    """
    if not held(state):
        return None
    try:
        document = json.loads((state / "run" / "service.json").read_text())
        started = document.pop("started_at", None)
        return Running(
            pid=int(document.pop("pid")),
            ssh_port=int(document.pop("ssh_port")),
            started_at=datetime.fromisoformat(started) if isinstance(started, str) else None,
            more=document,
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None  # it is just starting


def wait_until_running(state: Path, seconds: float) -> Running | None:
    """Like :func:`running`, but give a service that is starting so many seconds."""
    end = time.monotonic() + seconds
    while (found := running(state)) is None and time.monotonic() < end:
        time.sleep(0.05)
    return found


def needed(state: Path, seconds: float = 0) -> Running:
    """:raises PipeError: BUSY when the service is not running."""
    found = wait_until_running(state, seconds)
    if found is None:
        raise PipeError(Code.BUSY, f"the service of {state} is not running")
    return found
