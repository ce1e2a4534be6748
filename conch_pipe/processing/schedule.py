"""When a job is tried again and when it is given up: pure decisions over an error and some counts.

Does not touch jobs, clocks or logs; the runner does.
"""

from __future__ import annotations

from dataclasses import dataclass

from conch_pipe.errors import Code, PipeError, WorkerDied

DEATHS = 3  # attempts in all when the worker dies
FAILURES = 5  # attempts in all when something of ours goes wrong
CLAIMS = 10  # leases without an end: the job may be what kills the service
LONGEST_S = 120  # between two attempts
SETTLE_WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # between attempts to write an outcome down

# Nothing is wrong with the job: it waits until the database is free or the disk has room.
WAITING = frozenset({Code.BUSY, Code.NO_SPACE})
# Our fault, or unknown: perhaps it works the next time.
DOUBTFUL = frozenset({Code.FAILED, Code.UNKNOWN_OUTCOME})


@dataclass(frozen=True, slots=True)
class Step:
    """What to do after an attempt that raised."""

    wait_s: float | None  # None: give up
    counts: bool  # as a failure of the job
    problem: str  # a sentence; for the client when given up
    ours: bool = False  # given up through our fault, not the file's


def busy_delay(times: int) -> float:
    """Seconds before the next try of a job that has waited ``times`` times: 1, 2, 4 … 30."""
    return float(min(30, 2 ** min(times, 5)))


def failure_delay(failures: int) -> float:
    """Seconds before the next try of a job that failed ``failures`` times, from 1: 2, 8, 32, 120 …"""
    return float(min(LONGEST_S, 2 * 4 ** (min(failures, 5) - 1)))


def restart_delay(deaths: int) -> float:
    """Seconds before the ``deaths``-th dead worker in a row, from 1, is replaced: 0, 0.2, 0.4 … 5."""
    return 0.0 if deaths <= 1 else min(5.0, 0.1 * 2 ** min(deaths - 1, 10))


def after(error: Exception, failures: int, waits: int) -> Step:
    """Decide what follows an attempt.

    :param error: what the attempt raised.
    :param failures: attempts that failed before this one.
    :param waits: times it waited for something busy, in a row before this one.
    """
    if isinstance(error, WorkerDied):
        if failures + 1 >= DEATHS:
            problem = f"the file could not be processed: its worker died {failures + 1} times ({error})"
            return Step(None, True, problem, ours=True)
        return Step(0.0, True, f"its worker died: {error}")
    problem = error.message if isinstance(error, PipeError) else "internal error"
    if isinstance(error, PipeError) and error.code in WAITING:
        return Step(busy_delay(waits), False, problem)
    if isinstance(error, PipeError) and error.code not in DOUBTFUL:
        return Step(None, True, problem)
    if failures + 1 >= FAILURES:
        return Step(None, True, problem, ours=True)
    return Step(failure_delay(failures + 1), True, problem)
