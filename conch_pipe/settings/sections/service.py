"""The process as a whole, its queue and its log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from conch_pipe.settings.sections.base import Section
from conch_pipe.settings.values import Count, Place, Seconds


class Service(Section):
    """The process as a whole."""

    state: Place = Field(
        default=Path(),
        description="Folder of the state. Relative to this file; every other relative path is relative to it.",
    )
    drain_s: Seconds = Field(
        default=30,
        ge=0,
        le=3600,
        description="Seconds that running uploads may take to finish when the service is told to stop.",
    )
    processes: Count = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that take connections on the one port; from 2 on, besides the one that looks after them "
        "and runs the queue.",
    )
    linger_s: Seconds = Field(
        default=300,
        ge=0,
        le=43_200,
        description="Seconds that open sessions may go on in a process that is being replaced (SIGUSR2), before they "
        "are drained.",
    )


class Runner(Section):
    """The queue."""

    poll_s: Seconds = Field(
        default=1, ge=0.05, le=60, description="Seconds between looks at the queue when nothing is known to wait."
    )
    lease_s: Seconds = Field(
        default=60, ge=5, description="Seconds after which the job of a dead process is taken again."
    )


class Log(Section):
    """The log, on standard output."""

    format: Literal["text", "json"] = Field(
        default="text", description='"text" for people or "json", one object a line.'
    )
    level: Literal["debug", "info", "warn", "error"] = Field(
        default="info", description='The least level logged: "debug", "info", "warn" or "error".'
    )
