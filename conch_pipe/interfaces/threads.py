"""How blocking work leaves the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

# Runs a function with its arguments in a bounded pool: ``functools.partial(deferToThreadPool, reactor, pool)``.
InThread = Callable[..., Deferred[Any]]
