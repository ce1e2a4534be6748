"""How far the pushes of a recording are, drawn while they move."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from conch_pipe.cli.deliveries import local, unfinished
from conch_pipe.cli.output import Output, printable
from conch_pipe.processing.attempts import ATTEMPTS

if TYPE_CHECKING:
    from conch_pipe.model import Push

LOOK_S = 1.0
WIDTH = 30  # characters of a bar
MB = 1_000_000

Moving = Mapping[str, Mapping[str, Any]]  # what conch_pipe.progress.read returns


def draw(out: Output, pushes: Callable[[], tuple[Push, ...]], moving: Callable[[], Moving]) -> None:
    """Until every push has ended or the operator interrupts: redrawn on a terminal, else each change as a line."""
    frames = follow(pushes, moving, lambda: time.sleep(LOOK_S))
    if not sys.stdout.isatty():
        before: list[str] = []
        for lines in frames:
            for line in lines:
                if line not in before:
                    out.say(line)
            before = lines
        return
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        for lines in frames:
            live.update(Text("\n".join(lines)), refresh=True)


def follow(
    pushes: Callable[[], tuple[Push, ...]], moving: Callable[[], Moving], wait: Callable[[], object]
) -> Iterator[list[str]]:
    """One line for each push, again and again; ends after the frame in which all have ended and nothing moves."""
    while True:
        found, under_way = pushes(), moving()
        yield [line(push, under_way.get(str(push.id))) for push in found]
        if not any(unfinished(push) or push.manual or str(push.id) in under_way for push in found):
            return
        wait()


def line(push: Push, moving: Mapping[str, Any] | None) -> str:
    """A push as one line: its bar while it moves, else its state and what comes next."""
    if moving is not None:
        return f"{push.remote}  {bar(moving)}"
    told = f"{push.remote}  {push.state.value}"
    if unfinished(push) or push.manual:
        told += f"  {push.attempts} of {ATTEMPTS} attempts"
        told += f", next {local(push.due_at)}" if push.due_at else ", being tried"
    problems = ", ".join(f"{role.value} {word}" for role, word in push.problems.items())
    return told + (f"  {problems}" if problems else "")


def bar(moving: Mapping[str, Any]) -> str:
    """A file on its way: name, bar, share, MB, MB/s and the time that is left."""
    sent, size, speed = moving["sent"], moving["size"], moving["bytes_s"]
    share = sent / size if size else 1.0
    full = int(share * WIDTH)
    left = f"{_clock((size - sent) / speed)} left" if speed else "stalled"
    return (
        f"{printable(moving['file'])}  [{'#' * full}{'-' * (WIDTH - full)}] {int(share * 100):3} %  "
        f"{sent / MB:.1f} of {size / MB:.1f} MB  {speed / MB:.1f} MB/s  {left}"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
