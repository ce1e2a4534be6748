"""The 13 moments of a delivery on a line: what became of each, and where each stands in the drawing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from conch_pipe.model import Attempt, Delivery, PushState, Status

STEP = 70  # units between two marks
LEFT = 38  # of the first one


@dataclass(frozen=True, slots=True)
class Mark:
    """One moment.

    :ivar at: of the attempt that was made, or the moment on paper.
    :ivar kind: done, failed, missed, next, coming or spare; each has a shape of its own.
    :ivar word: what is written below it.
    :ivar told: a few words more.
    :ivar after: since the recording was saved, as people say it.
    """

    number: int
    x: int
    at: datetime
    kind: str
    word: str
    told: str
    after: str


@dataclass(frozen=True, slots=True)
class Line:
    """All of them.

    :ivar words: the same as text, for who does not see it.
    :ivar reached: how far the line is drawn boldly.
    """

    marks: tuple[Mark, ...]
    words: str
    width: int
    reached: int


def line(delivery: Delivery, saved_at: datetime, attempts: Iterable[Attempt], *, now: bool = False) -> Line:
    """What is drawn.

    :param attempts: of this recording, in any order; those to other remotes are passed over.
    :param now: one is being made.
    """
    push = delivery.push
    made = {one.number: one for one in attempts if one.push == push.id and one.number}
    marks = tuple(
        _mark(delivery, number, at, made.get(number), at - saved_at, now)
        for number, at in enumerate(delivery.instants, 1)
    )
    parts = [f"{one.number}: {one.word}" + (f" ({one.told})" if one.told else "") for one in marks if one.kind in _TOLD]
    rest = sum(one.kind == "coming" for one in marks)
    if rest:
        parts.append(f"{rest} more to come")
    width = LEFT * 2 + STEP * (len(marks) - 1)
    reached = max((one.x for one in marks if one.kind in ("done", "failed", "missed")), default=0)
    return Line(marks, "; ".join(parts) or "no attempt has been made", width, reached)


_TOLD = ("done", "failed", "missed", "next")


def _mark(delivery: Delivery, number: int, at: datetime, attempt: Attempt | None, after: timedelta, now: bool) -> Mark:
    push = delivery.push
    told = ""
    if attempt is not None:
        at = attempt.began_at
        kind, word, told = _ended(attempt)
    elif number <= push.attempts:
        kind, word = "missed", "missed"
    elif push.final_at is not None:
        kind, word = "spare", "given up" if push.state is PushState.GIVEN_UP else "not needed"
    elif number == push.attempts + 1:
        kind, word = "next", "now" if now and not push.manual else "next"
        at = at if push.manual or push.due_at is None else push.due_at
    else:
        kind, word = "coming", "to come"
    return Mark(number, LEFT + STEP * (number - 1), at, kind, word, told, _since(after))


def _ended(attempt: Attempt) -> tuple[str, str, str]:
    report = attempt.report
    if report.status is Status.OK:
        missing = [file.role.value for file in report.files if file.reason]
        return "done", "arrived", f"without {', '.join(missing)}" if missing else ""
    told = f"{report.status.value}, {report.reason}" if report.reason else report.status.value
    if not report.connected and not report.seconds and not attempt.shared:
        return "missed", "missed", told
    return "failed", "failed", told


def _since(after: timedelta) -> str:
    """To the minute, as the schedule has it."""
    minutes = int(after.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min" if minutes else "at once"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
