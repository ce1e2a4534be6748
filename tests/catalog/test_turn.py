"""Writers of several processes take turns."""

from __future__ import annotations

import fcntl
import threading
import time

from conch_pipe.catalog.turn import Turn


def test_who_has_just_written_lets_the_one_that_waits_go_first(tmp_path):
    """Locks belong to open files, so two Turns of one process stand for two processes."""
    mine, theirs = Turn(tmp_path / "write"), Turn(tmp_path / "write")
    order: list[str] = []

    def other() -> None:
        with theirs:
            order.append("theirs")

    with mine:
        waiting = threading.Thread(target=other)
        waiting.start()
        _until_locked(tmp_path / "write.next")
    with mine:
        order.append("mine")
    waiting.join()

    assert order == ["theirs", "mine"]


def test_a_turn_ends_with_an_error_in_it(tmp_path):
    turn = Turn(tmp_path / "write")
    try:
        with turn:
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass

    with Turn(tmp_path / "write"):
        pass


def _until_locked(path) -> None:
    with path.open("rb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(0.005)
