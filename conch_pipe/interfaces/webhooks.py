"""The seams of webhooks: the records of them, and who carries a message.

A ``Deferred[X]`` fires with X or fails with PipeError, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from twisted.internet.defer import Deferred
from zope.interface import Interface

from conch_pipe.model import Answer, Webhook

# zope interfaces describe methods without self.
# mypy: disable-error-code="empty-body,misc"
# ruff: noqa: N805


class IWebhooks(Interface):
    """Webhooks as the service sees them. Implemented in ``catalog``.

    Their messages are jobs of kind "notify": the subject is the message's id, the lane the webhook's, the payload has
    ``event`` and ``body``. They are written by the catalog itself, with what they tell of.
    """

    def get(webhook_id: str) -> Deferred[Webhook | None]:
        """:returns: Deferred[model.Webhook | None]."""

    def secrets(webhook_id: str) -> Deferred[tuple[str, ...]]:
        """What signs for it now, newest first: two while the receiver changes over. Asked before each request and not
        kept.

        :raises PipeError: NOT_FOUND; FAILED when they cannot be unsealed: another key, damaged.
        """

    def forget(before: datetime, limit: int) -> Deferred[int]:
        """Delete attempts from before a time, with the messages they were at; how many attempts they were."""


class ISender(Interface):
    """Carries one message to one address. Implemented in ``remotes``, called by the chain of kind "notify"."""

    def send(url: str, message: str, body: str, secrets: Sequence[str], at: datetime) -> Deferred[Answer]:
        """One signed POST over a connection of its own, in 30 s at most.

        :param message: its id, the same for every attempt.
        :param body: JSON.
        :param secrets: each of them signs.
        :param at: told to the receiver, who refuses what is old.
        :returns: Deferred[model.Answer]; every expected fault is one. Its ``reason`` is empty when the status was 2xx,
            and "gone" for 410. Cancelling it closes the connection.
        """
