"""How many connections each remote may have now, and what it was found to be like a moment ago.

A remote's limit is never passed. It is approached slowly: one connection until that has worked, then twice as many for
each that does. A failure is remembered for a while and told to whoever comes next: a dead host is asked once in 30
seconds and a wrong password tried once a minute, however many recordings wait. In memory only; a remote that was
changed is forgotten. Does not connect and knows no jobs: push.py asks before each attempt, the runner before a claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from twisted.internet.interfaces import IReactorTime

from conch_pipe.model import Remote, Report, Status

CONNECT_S = 30.0  # a failure to connect is remembered
LOGIN_S = 60.0  # a refused login is
IDLE_S = 60.0  # after which a remote is approached slowly again
TOGETHER = 16  # jobs of one remote at a time that need no connection, its failure being remembered
FOR_EVER = float("inf")

# What lasts: until the remote is changed, for a minute, for half of one.
REMEMBERED = {
    Status.HOST_KEY_MISMATCH: FOR_EVER,
    Status.SFTP_LOGIN_FAILED: LOGIN_S,
    Status.SFTP_CONNECTION_TIMEOUT: CONNECT_S,
}


def _version(remote: Remote) -> datetime:
    return remote.changed_at or remote.created_at


@dataclass(eq=False, slots=True)
class _Lane:
    """One remote, as far as it is known."""

    most: int  # connections it allows
    version: datetime
    limit: int = 1  # connections it may have now
    connections: int = 0
    used_at: float = 0.0
    failure: Report | None = None
    failed_at: float = 0.0

    def forget(self) -> None:
        self.failure = None


class Lanes:
    """All remotes.

    :param connections: to all of them together.
    """

    def __init__(self, clock: IReactorTime, connections: int) -> None:
        self.clock = clock
        self.connections = connections
        self._lanes: dict[str, _Lane] = {}

    @property
    def used(self) -> int:
        """Connections there are now."""
        return sum(lane.connections for lane in self._lanes.values())

    def room(self, held: Mapping[str, int]) -> tuple[dict[str, int], int]:
        """How many more jobs may be claimed.

        A remote grows to as much as is left free then, no further: slow ones leave room for others.

        :param held: jobs that are worked on, by remote.
        :returns: for these remotes; and for each other one.
        """
        self._tidy(held)
        remembering = {name for name, lane in self._lanes.items() if self._failure(lane) is not None}
        taken = (self._lanes[name].connections if name in remembering else held[name] for name in held)
        free = self.connections - sum(taken)
        room = {}
        for name in self._lanes.keys() | held.keys():
            lane = self._lanes.get(name)
            has = held.get(name, 0)
            if name in remembering:
                room[name] = max(0, TOGETHER - has)
            else:
                limit = min(lane.limit, lane.most) if lane is not None else 1
                share = (free - has) // 2 if has else max(min(1, free), free // 2)
                room[name] = max(0, min(limit - has, share))
        return room, min(1, max(0, free))

    def know(self, remote: Remote) -> None:
        """What the catalog says of a remote; what was known of it before a change is forgotten."""
        lane = self._lanes.get(remote.name)
        if lane is None:
            lane = self._lanes[remote.name] = _Lane(remote.max_connections, _version(remote))
            lane.used_at = self.clock.seconds()
        if _version(remote) > lane.version:
            lane.version = _version(remote)
            lane.limit = 1
            lane.forget()
        if _version(remote) == lane.version:  # not what was read before a change, and comes late
            lane.most = remote.max_connections

    def failure(self, remote: Remote) -> Report | None:
        """How an attempt at this remote would end, as another one just did; None: try."""
        return self._failure(self._lanes[remote.name])

    def enter(self, remote: Remote) -> bool:
        """Take a connection; False when there is none to take. To be left again."""
        lane = self._lanes[remote.name]
        if lane.connections >= min(lane.limit, lane.most) or self.used >= self.connections:
            return False
        lane.connections += 1
        return True

    def worked(self, remote: Remote) -> None:
        """A login has succeeded: twice as many may come. Once for each connection."""
        lane = self._lanes[remote.name]
        if lane.version == _version(remote):
            lane.limit = min(lane.most, 2 * lane.limit)
            lane.forget()

    def leave(self, remote: Remote, report: Report | None) -> None:
        """A connection has ended.

        :param remote: as it was when the connection was taken: what failed before a change says nothing after it.
        :param report: how; None: we gave it up ourselves.
        """
        lane = self._lanes[remote.name]
        lane.connections -= 1
        lane.used_at = self.clock.seconds()
        if report is None or report.status not in REMEMBERED or lane.version != _version(remote):
            return
        lane.limit = 1
        lane.failure = replace(report, files=(), connected=False, seconds=0.0, refused_key=None)
        lane.failed_at = lane.used_at

    def _failure(self, lane: _Lane) -> Report | None:
        if lane.failure is None:
            return None
        ago = self.clock.seconds() - lane.failed_at
        # Not from the future: a clock that was put back must not keep us from a remote for hours.
        return lane.failure if 0 <= ago < REMEMBERED[lane.failure.status] else None

    def _tidy(self, held: Mapping[str, int]) -> None:
        """Forget remotes nothing has been heard of for a while: they are approached as if they were new."""
        now = self.clock.seconds()
        for name, lane in list(self._lanes.items()):
            idle = not lane.connections and not held.get(name) and now - lane.used_at >= IDLE_S
            if idle and self._failure(lane) is None:
                del self._lanes[name]
