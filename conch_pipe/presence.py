"""The service's mark in its state folder: a lock while it lives, and a note that says where it listens.

One service per state folder: two would give the same partner two truths. The lock decides; a crash leaves the note
behind, and whoever reads the note asks for the lock first (``held``).
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from conch_pipe.errors import Code, PipeError

LOOK_S = 0.1
PATIENCE_S = 1.0  # a ``conch-pipe status`` that looks at the lock holds it for a moment


class Presence:
    """``run/lock`` and ``run/service.json`` of a state folder.

    :param state: the folder; ``run`` in it is made when missing.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / "run"
        self._note = self._folder / "service.json"
        self._told = ""
        self._failed = False
        self._lock: int | None = None
        self._mark: int | None = None

    def hold(self) -> None:
        """Take the lock; blocks for at most a second, so before the reactor runs.

        :raises PipeError: CONFLICT when another service has it.
        """
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                # What a killed service left goes while nobody, not even we, can be taken for a running one.
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._note.unlink(missing_ok=True)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(0.05)
                    continue
                os.close(lock)
                raise PipeError(
                    Code.CONFLICT, f"another service runs on {self._folder.parent}; conch-pipe status tells which"
                ) from None
            break
        self._lock = lock

    async def alone(self, clock: Any, patience_s: float) -> int:
        """Wait until the door processes of a service that was killed have ended: each holds a lock as long as it lives.

        :returns: the descriptor of that lock, now ours, which every door process is given.
        :raises PipeError: CONFLICT when some are left after that time.
        """
        from twisted.internet.task import deferLater  # those who only look have no use for it

        mark = os.open(self._folder / "doors", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        end = clock.seconds() + patience_s
        while True:
            try:
                # Of the open file, not of the process: it is free when the last copy of the descriptor is closed.
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if clock.seconds() < end:
                    await deferLater(clock, LOOK_S)
                    continue
                os.close(mark)
                raise PipeError(
                    Code.CONFLICT, f"processes of a service that was killed still use {self._folder.parent}"
                ) from None
            break
        self._mark = mark
        return mark

    def announce(self, **facts: Any) -> None:
        """Say where the service listens; readers see the old note or the new one, never half of one.

        Call it again and again: nothing is written unless something changed, and what a full disk did not take is
        written when there is room.
        """
        text = json.dumps(facts, default=str) + "\n"
        if text == self._told:
            return
        fresh = self._folder / "service.json.new"
        try:
            fresh.write_text(text)
            fresh.replace(self._note)
        except OSError as error:
            if not self._failed:
                from twisted.logger import Logger  # commands that ask whether a service runs need no Twisted

                Logger(namespace="conch_pipe").warn("status tells what was before: {problem}", problem=error.strerror)
            self._failed = True
            return
        self._told, self._failed = text, False

    def leave(self) -> None:
        """Take note and lock away; again, or without the lock, it is no error and touches nobody else's."""
        if self._lock is not None:
            self._note.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None
        if self._mark is not None:
            os.close(self._mark)
            self._mark = None


def held(state: Path) -> bool:
    """Whether a service has the lock of a state folder; asked with a shared lock that is given back at once.

    :raises OSError: this user may not look.
    """
    try:
        descriptor = os.open(state / "run" / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
