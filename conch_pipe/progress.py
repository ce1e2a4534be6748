"""How far running pushes are: a small file in the state's run folder, which the command line reads.

Nothing rests on it: it is rewritten at most once a second, never synced, and gone when the service stops.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from conch_pipe import events
from conch_pipe.events import Event
from conch_pipe.presence import held

WRITE_S = 1.0  # between two writes
STILL_S = 120.0  # after which a push that has not moved is left out: nothing may stall that long
NAME = "pushes.json"


class Progress:
    """``run/pushes.json`` of a state folder; a listener of events.

    :param state: the folder; ``run`` in it must be there when the first push moves.
    """

    _log = Logger()

    def __init__(self, state: Path, clock: IReactorTime) -> None:
        self._file = state / "run" / NAME
        self.clock = clock
        self._moving: dict[str, dict[str, Any]] = {}
        self._written = float("-inf")
        self._later: IDelayedCall | None = None

    def __call__(self, event: Event) -> None:
        """Hear of a push."""
        if event.kind is events.PUSH_PROGRESS:
            self._moved(**event.fields)
        elif event.kind is events.PUSH_ATTEMPTED and event.fields["push_id"] in self._moving:
            del self._moving[event.fields["push_id"]]
            self._soon()

    def _moved(self, push_id: str, file: str, sent: int, size: int, seconds: float, **about: Any) -> None:
        now = self.clock.seconds()
        self._moving[push_id] = {
            "recording": about["recording_id"],
            "organisation": about["organisation"],
            "remote": about["remote"],
            "file": file,
            "sent": sent,
            "size": size,
            "began_at": datetime.fromtimestamp(now - seconds, UTC).isoformat(),
            "bytes_s": round(sent / seconds) if seconds > 0 else 0,
            "at": now,
        }
        self._soon()

    def _soon(self) -> None:
        if self._later is not None:
            return
        wait = self._written + WRITE_S - self.clock.seconds()
        if wait > 0:
            self._later = self.clock.callLater(wait, self._write)
        else:
            self._write()

    def _write(self) -> None:
        self._later = None
        self._written = now = self.clock.seconds()
        self._moving = {push: one for push, one in self._moving.items() if now - one["at"] < STILL_S}
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(self._moving) + "\n")
            fresh.replace(self._file)
        except OSError as error:
            self._log.warn("the progress of pushes cannot be shown: {error}", error=error.strerror)

    def stop(self) -> None:
        """Nothing moves any more. Again it is no error."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._moving.clear()
        self._file.unlink(missing_ok=True)


def read(state: Path) -> dict[str, dict[str, Any]]:
    """The pushes that move now; empty when none does, or no service runs on the state folder.

    :returns: push id → ``recording`` (the sender's id), ``organisation``, ``remote``, ``file`` (name on the remote),
        ``sent`` and ``size`` of it in bytes, ``began_at`` (ISO 8601, UTC), ``bytes_s`` so far, ``at`` (POSIX time).
    """
    try:
        if not held(state):  # what a killed service left
            return {}
        found: dict[str, dict[str, Any]] = json.loads((state / "run" / NAME).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found
