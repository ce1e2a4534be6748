"""The logged-in connections: who is here, with how many, and what each has put.

A visit is one SSH connection, whatever channels it opens (ruling 3). Does not know the wire: a connection is ended
through a function that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Client, Credential
from conch_pipe.sftp.neighbours import Neighbours, Say
from conch_pipe.sftp.shelf import Key, Put, Shelf, State
from conch_pipe.ssh.server.tally import OwnTally, Tally

_ENDED = 1000
BUSY = "the service is shutting down; try again in a minute"


class Visit:
    """One logged-in connection.

    :param shelf: what the client has put on any of its connections.
    :param remembered: files shown in listings, the newest ones.
    :param at: POSIX time in seconds of the login.
    """

    def __init__(self, client: Client, shelf: Shelf, remembered: int, at: float) -> None:
        self.client = client
        self.shelf = shelf
        self.at = at
        self.uploads = 0  # accepted on this connection
        self.files: dict[Key, Put] = {}  # put on this connection, oldest first
        self._remembered = remembered

    def find(self, key: Key) -> Put | None:
        """The client's newest file of this name, on whatever connection; perhaps GONE. None: the catalog may know."""
        put = self.shelf.find(key) or self.files.get(key)
        if put is None or put.state is State.UNKNOWN or put.key != key:  # renamed on another connection meanwhile
            return None
        return put

    def add(self, put: Put) -> None:
        """A file was opened here."""
        self.shelf.add(put)
        self._remember(put)

    def renamed(self, put: Put, old: Key) -> None:
        """A file got its final name here; it may have been put on another connection (rclone)."""
        if self.files.get(old) is put:
            del self.files[old]
        self.shelf.renamed(put, old)
        self._remember(put)

    def _remember(self, put: Put) -> None:
        self.files.pop(put.key, None)
        self.files[put.key] = put
        if len(self.files) > self._remembered:
            del self.files[next(iter(self.files))]


class Visits:
    """All logged-in connections.

    :param clock: for times of files and their age.
    :param disconnect: ends a connection: session id and text for the client.
    :param per_client: connections one client_id may have at a time.
    :param remembered: files one connection is shown in its listings.
    :param keep_s: seconds for which a client's other connections know a file.
    :param leftover_s: seconds a complete file waits under its temporary name.
    :param tally: counts connections of clients, too; a SharedTally when several processes listen.
    :param say: sends a message to the other processes; see neighbours.py.
    """

    def __init__(
        self,
        clock: IReactorTime,
        disconnect: Callable[[str, str], None],
        *,
        per_client: int = 10,
        remembered: int = 5000,
        keep_s: float = 600,
        leftover_s: float = 600,
        tally: Tally | None = None,
        say: Say | None = None,
    ) -> None:
        self.clock = clock
        self.keep_s = keep_s
        self.draining = False
        # POSIX time of the newest upload that no shelf here knows of; without end while others may take some.
        self.newest_elsewhere = math.inf
        self.disconnect = disconnect
        self._per_client = per_client
        self._remembered = remembered
        self._leftover_s = leftover_s
        self._here: dict[str, list[Visit]] = {}
        self._ended: dict[str, int] = {}  # session → its uploads, until somebody asks
        self._shelves: dict[str, Shelf] = {}
        self._tally = tally or OwnTally()
        self.neighbours = Neighbours(self._shelves, self._elsewhere, say)

    def __len__(self) -> int:
        return sum(map(len, self._here.values()))

    def open(self, client: Client) -> Visit:
        """A client logged in.

        :raises PipeError: BUSY with too many connections of the client, or while draining: the connection is ended.
        """
        if self.draining:
            raise PipeError(Code.BUSY, BUSY)
        here = self._here.setdefault(client.client_id, [])
        if self._count(client.client_id) >= self._per_client:
            if not here:
                del self._here[client.client_id]
            raise PipeError(Code.BUSY, f"at most {self._per_client} connections at a time")
        shelf = self._shelves.setdefault(client.client_id, Shelf(self.clock.seconds))
        visit = Visit(client, shelf, self._remembered, self.clock.seconds())
        here.append(visit)
        self._tally.move(_counted(client.client_id), 1, 0)
        return visit

    def close(self, visit: Visit) -> None:
        """A connection is gone; again: nothing happens. With the client's last one go its unfinished names."""
        here = self._here.get(visit.client.client_id, [])
        if visit not in here:
            return
        here.remove(visit)
        self._tally.move(_counted(visit.client.client_id), -1, 0)
        self._ended[visit.client.peer.session] = visit.uploads
        if len(self._ended) > _ENDED:
            del self._ended[next(iter(self._ended))]
        if not here:
            del self._here[visit.client.client_id]
            if not self._elsewhere(visit.client.client_id):
                visit.shelf.clear()

    def _count(self, client_id: str) -> int:
        """Connections of a client in all processes."""
        return self._tally.of(_counted(client_id)).connections

    def _elsewhere(self, client_id: str) -> bool:
        return self._count(client_id) > len(self._here.get(client_id, []))

    def knows_all(self, shelf: Shelf, key: Key) -> bool:
        """Whether a name that is not on the client's shelf is not in the catalog either, as far back as STAT looks."""
        since = self.clock.seconds() - self.keep_s
        return self.newest_elsewhere < since and shelf.forgot_at < since and shelf.find(key) is None

    def client_ids(self) -> list[str]:
        """Who is here."""
        return list(self._here)

    def who(self, session: str) -> Client | None:
        """Whose connection this is."""
        visits = (visit for here in self._here.values() for visit in here)
        return next((visit.client for visit in visits if visit.client.peer.session == session), None)

    def running(self) -> int:
        """Files that are being put now."""
        return sum(put.running for shelf in self._shelves.values() for put in shelf)

    def farewell(self, session: str) -> int:
        """A connection has ended, logged in or not.

        :returns: uploads accepted on it.
        """
        return self._ended.pop(session, 0)

    def refresh(self, credential: Credential) -> None:
        """What is enabled for a client now; its sessions go by it from their next operation on."""
        schemas = frozenset(credential.schemas)
        for visit in self._here.get(credential.client_id, []):
            if visit.client.schemas != schemas:
                visit.client = replace(visit.client, schemas=schemas)

    def end(self, client_id: str, text: str) -> int:
        """End all connections of a client; for us they are gone at once, however long the wire takes.

        :param text: what the client is told.
        :returns: how many.
        """
        visits = list(self._here.get(client_id, []))
        for visit in visits:
            self.close(visit)
            self.disconnect(visit.client.peer.session, text)
        return len(visits)

    def sweep(self) -> None:
        """Forget what is too old; call every few seconds."""
        for client_id, shelf in list(self._shelves.items()):
            shelf.sweep(self.keep_s, self._leftover_s)
            if not len(shelf) and client_id not in self._here:
                del self._shelves[client_id]


def _counted(client_id: str) -> str:
    """Its name in the tally; no address looks like it."""
    return f"client {client_id}"
