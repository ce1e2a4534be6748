"""The log as lines: JSON for machines, text for people. One event, one line of at most 8 KiB.

Does not decide what is logged. Control characters are escaped, so no client can forge a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

LINE_BYTES = 8192
_PLAIN = (str, int, float, bool, type(None), dict, list)


def _when(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event["log_time"], UTC)


@lru_cache(maxsize=4)
def _second(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z"


def _sentence(event: LogEvent) -> str:
    """What ``formatEvent`` says, in a fraction of its time for sentences that call nothing: all of ours."""
    sentence = event.get("log_format")
    if isinstance(sentence, str) and "()" not in sentence and "log_flattened" not in event:
        with suppress(LookupError, ValueError, TypeError, AttributeError):
            return sentence.format_map(event)
    return formatEvent(event)


def as_json(event: LogEvent) -> str:
    """One event as a JSON object: time, level, from, process, text, and the event's own named fields."""
    document: dict[str, Any] = {
        "time": _when(event).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": getattr(event.get("log_level"), "name", "info"),
        "from": event.get("log_namespace", ""),
        "process": os.getpid(),
        "text": _sentence(event),
    }
    for key, value in event.items():
        if key.startswith("log_") or key in ("isError", "message", "time", "format", "system", "why", "failure"):
            continue
        document.setdefault(key, value if isinstance(value, _PLAIN) else str(value))
    if event.get("log_failure") is not None:
        document["traceback"] = event["log_failure"].getTraceback()[-4096:]
    line = json.dumps(document, default=str)
    if len(line.encode()) < LINE_BYTES:  # with its end it is one write, which no other process's line can get into
        return line
    kept: dict[str, Any] = {
        key: document[key] for key in ("time", "level", "from", "process", "event") if key in document
    }
    kept["text"] = document["text"][: LINE_BYTES // 8]
    return json.dumps(kept | {"truncated": True})


def as_text(event: LogEvent, process: int | None = None) -> str:
    """One event for a person: time in UTC, level, sentence. Only a traceback of ours has more lines."""
    level = getattr(event.get("log_level"), "name", "info")
    sentence = _sentence(event)
    if not sentence.isprintable():
        sentence = "".join(one if one.isprintable() else _escaped(one) for one in sentence)
    which = "" if process is None else f"[{process}] "
    line = f"{_second(int(event['log_time'] // 1))} {level:<8} {which}{sentence}"[:LINE_BYTES]
    if event.get("log_failure") is not None:
        return line + "\n" + event["log_failure"].getTraceback()[-4096:].rstrip()
    return line


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


@implementer(ILogObserver)
class LineLog:
    """Writes events of at least ``level`` to a stream.

    :param stream: a text stream; a stream that cannot be written to (disk full) loses lines, counted in ``lost``.
    """

    def __init__(self, stream: TextIO, level: LogLevel, render: Callable[[LogEvent], str]) -> None:
        self.stream = stream
        self.level = level
        self.render = render
        self.lost = 0

    def __call__(self, event: LogEvent) -> None:
        """Write one event; never raises."""
        level = event.get("log_level")
        if level is LogLevel.info and event.get("log_namespace") == "log_legacy" and "warning" not in event:
            level = LogLevel.debug  # "Site starting on 8080": Twisted of its ports, told better by events of ours
        if level is not None and level < self.level:
            return
        try:
            self.stream.write(self.render(event) + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            self.lost += 1


def observer(stream: TextIO, *, style: str = "text", level: str = "info", process: int | None = None) -> LineLog:
    """The observer for the settings ``log.format`` ("text" or "json") and ``log.level``.

    :param process: of several that write to the stream, the one that does here; lines for people tell it, too.
    """
    text = as_text if process is None else partial(as_text, process=process)
    return LineLog(stream, LogLevel.lookupByName(level), as_json if style == "json" else text)
