"""One look at one part of the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a part works.

    :ivar words: what is wrong, or how well it is; for the operator only.
    """

    name: str
    ok: bool
    words: str
    seconds: float
