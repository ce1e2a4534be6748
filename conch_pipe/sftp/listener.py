"""Connections as they come and go, told as events."""

from __future__ import annotations

from zope.interface import implementer

from conch_pipe import events
from conch_pipe.interfaces import IEvents
from conch_pipe.sftp.visits import Visits
from conch_pipe.ssh.interfaces import IConnectionListener


@implementer(IConnectionListener)
class ConnectionEvents:
    """See IConnectionListener."""

    def __init__(self, visits: Visits, events: IEvents) -> None:
        self._visits = visits
        self._events = events

    def opened(self, session: str, address: str, port: int) -> None:
        """See IConnectionListener."""
        self._events.note(events.SESSION_OPENED, session=session, address=address, port=port)

    def refused(self, address: str, reason: str) -> None:
        """See IConnectionListener."""
        self._events.note(events.SESSION_REFUSED, address=address, reason=reason)

    def disagreed(self, address: str, banner: str, what: str, client: str, server: str) -> None:
        """See IConnectionListener."""
        self._events.note(
            events.SESSION_DISAGREED, address=address, banner=banner, what=what, client=client, server=server
        )

    def learnt(self, session: str, address: str, host_keys: list[str]) -> None:
        """See IConnectionListener."""
        client = self._visits.who(session)
        for host_key in host_keys:
            self._events.note(
                events.HOST_KEY_LEARNT,
                client_id=client.client_id if client else "",
                organisation=client.organisation if client else "",
                address=address,
                session=session,
                host_key=host_key,
            )

    def closed(self, session: str, address: str, seconds: float, reason: str) -> None:
        """See IConnectionListener."""
        uploads = self._visits.farewell(session)
        self._events.note(
            events.SESSION_CLOSED, session=session, address=address, seconds=seconds, reason=reason, uploads=uploads
        )
