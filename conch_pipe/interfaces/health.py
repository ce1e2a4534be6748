"""How the service is: what /readyz and /metrics ask."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from conch_pipe.model.health import Check

# zope interfaces describe methods without self.
# mypy: disable-error-code="empty-body,misc"
# ruff: noqa: N805


class IHealth(Interface):
    """Whether each part works. Implemented in ``health``."""

    def look() -> Awaitable[tuple[Check, ...]]:
        """All parts, asked at the same time; an answer is good for a moment. Takes seconds at most, never fails."""


class IMetrics(Interface):
    """Numbers for Prometheus. Implemented in ``metrics``."""

    def text() -> Awaitable[bytes]:
        """All of them in Prometheus's text format 0.0.4; one text is good for a second.

        :raises PipeError: BUSY, it cannot be made now.
        """
