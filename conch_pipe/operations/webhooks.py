"""Webhooks: added, tried, used or not, removed; a signing secret is told once. What they are told is made elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import TEST, Notice, Page, Shape, Webhook, page, utc
from conch_pipe.ssh.fields import printable

if TYPE_CHECKING:
    from conch_pipe.operations.together import Means


_HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Shown:
    """One webhook as it stands.

    :ivar waiting: messages that have neither been taken nor given up.
    :ivar log: the newest attempts, newest first.
    """

    webhook: Webhook
    waiting: int
    log: tuple[Notice, ...]


class Webhooks:
    """For operators."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._catalog = means.catalog.webhooks

    # Looking.

    def list(self, organisation: str | None = None) -> Awaitable[tuple[Webhook, ...]]:
        """All of them, or an organisation's, oldest first. :raises PipeError: NOT_FOUND for the organisation."""
        return self._catalog.list(organisation)

    def get(self, webhook_id: str) -> Awaitable[Webhook | None]:
        """One of them."""
        return self._catalog.get(webhook_id)

    async def existing(self, webhook_id: str) -> Webhook:
        """:raises PipeError: NOT_FOUND."""
        found = await self._catalog.get(webhook_id)
        if found is None:
            raise PipeError(Code.NOT_FOUND, f"no webhook {printable(webhook_id)}")
        return found

    async def show(self, webhook_id: str, last: int = 10) -> Shown:
        """One of them, with its last attempts. :raises PipeError: NOT_FOUND."""
        found = await self.existing(webhook_id)
        log = await self.log(webhook=webhook_id, limit=last)
        return Shown(found, await self._catalog.waiting(webhook_id), log.items)

    async def log(
        self,
        organisation: str | None = None,
        *,
        limit: int = 50,
        before: tuple[datetime, int] | None = None,
        webhook: str | None = None,
        message: str | None = None,
        failed: bool = False,
    ) -> Page[Notice]:
        """Attempts, newest first; of all organisations, or of one. All that is given must hold.

        :param before: ``more`` of the page before.
        :param failed: only those that were not taken.
        """
        from conch_pipe.catalog.queries.webhooks import NoticeFilter

        found = await self._catalog.log(NoticeFilter(webhook, organisation, failed, message, limit + 1, before))
        return page(found, limit, lambda one: (one.began_at, one.id))

    # Changing.

    async def add(
        self,
        organisation: str,
        url: str,
        events: Iterable[str] = (),
        *,
        environment: str = "",
        shape: str = Shape.STANDARD.value,
    ) -> tuple[Webhook, str]:
        """A new one and its signing secret, which is told this once.

        :param events: types; none: all that fit the environment and the shape.
        :raises Mistakes: all that is wrong with it. :raises PipeError: NOT_FOUND for the organisation or the
            environment; CONFLICT, it has 20; FAILED, no key to seal with.
        """
        from conch_pipe.remotes.webhook_form import judged

        wanted = judged(url, events, environment, shape)
        return await self._catalog.add(organisation, url, wanted, environment=environment, shape=Shape(shape))

    async def test(self, webhook_id: str) -> tuple[Webhook, Notice]:
        """Send a message of type webhook.test now, once, and log it. Cancelling closes the connection.

        :raises PipeError: NOT_FOUND; FAILED, its secret cannot be unsealed.
        """
        from conch_pipe.catalog.queries.telling import written

        found = await self.existing(webhook_id)
        secrets = await self._catalog.secrets(webhook_id)
        at = utc(self._means.clock)
        message = f"msg_{uuid4().hex}"
        body = written(TEST, {"organisation": found.organisation, "webhook": found.id}, at)
        answer = await self._means.sender().send(found.url, message, body, secrets, at)
        notice = Notice(webhook_id, message, TEST, 0, at, answer)
        await self._catalog.tested(notice)
        return found, notice

    async def enable(self, webhook_id: str) -> tuple[Webhook, int]:
        """Tell it again; what waits is sent at once. :returns: with how much that is. :raises PipeError: NOT_FOUND."""
        enabled = await self._catalog.enable(webhook_id)
        return enabled, await self._catalog.waiting(webhook_id)

    def disable(self, webhook_id: str) -> Awaitable[Webhook]:
        """Tell it nothing that happens from now on. :raises PipeError: NOT_FOUND."""
        return self._catalog.disable(webhook_id)

    def rotate(self, webhook_id: str, overlap_hours: float) -> Awaitable[tuple[Webhook, str]]:
        """A new signing secret, told this once; the old one signs as well for so long. Each message has both then.

        :raises PipeError: NOT_FOUND; FAILED, no key to seal with.
        """
        return self._catalog.rotate(webhook_id, overlap_hours * _HOUR_S)

    def remove(self, webhook_id: str) -> Awaitable[int]:
        """With its secret and its log. :returns: how many messages waited. :raises PipeError: NOT_FOUND."""
        return self._catalog.remove(webhook_id)
