"""A door process as its parent hears it."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from conch_pipe import events
from conch_pipe.events import Events
from conch_pipe.metrics.away import Away
from conch_pipe.metrics.catalogue import COUNTED, EVENTS, LOGINS
from conch_pipe.metrics.tally import Tally
from conch_pipe.processes.door import SOON_S, TELL_S, Door


def test_the_parent_is_told_of_an_upload_at_once_and_of_a_storm_now_and_then():
    clock, told = Clock(), []
    door = Door(
        clock,
        schemas={},
        database=None,
        disk=None,
        intake=None,
        sftp=None,
        drain_s=0,
        report=lambda **message: told.append(message),
        ended=lambda: None,
    )

    door.stored()
    assert told == [{"stored": True}]
    for _ in range(10):
        door.stored()
    assert len(told) == 1
    clock.advance(SOON_S)
    assert len(told) == 2
    clock.advance(SOON_S)
    assert len(told) == 2, "nothing came meanwhile"
    assert not clock.getDelayedCalls()
    door.stored()
    assert len(told) == 3


class Still:
    """A part that does nothing, whatever it is asked."""

    visits: list[object] = []
    connections = 0

    def __getattr__(self, name: str) -> Any:
        return lambda *args: succeed(None)


class Crowd(list):
    """Visits of an SFTP door."""

    def running(self) -> int:
        return 0


def test_what_was_counted_is_told_once_a_second_and_at_the_end_and_never_of_each():
    clock, told, happenings, ended = Clock(), [], Events(), []
    sftp = Still()
    sftp.visits = Crowd()
    door = Door(
        clock,
        schemas={},
        database=Still(),
        disk=Still(),
        intake=Still(),
        sftp=sftp,
        drain_s=0,
        report=lambda **message: told.append(message),
        ended=lambda: ended.append(True),
        counts=Away(happenings, clock),
    )
    parent = Tally(COUNTED)

    def counted() -> list[Any]:
        return [message["counted"] for message in told if "counted" in message]

    door.start({})
    for _ in range(1000):
        happenings.note(events.LOGIN_SUCCEEDED, client_id="a", organisation="acme", address="::1", banner="x")
    assert counted() == []
    clock.advance(TELL_S)
    assert len(counted()) == 1
    happenings.note(events.LOGIN_SUCCEEDED, client_id="a", organisation="acme", address="::1", banner="x")
    door.drain(0)
    clock.pump([1] * 20)

    assert ended
    for message in counted():
        parent.merge(json.loads(json.dumps(message)))
    assert parent.sum(LOGINS).cells["sftp", "ok"] == 1001
    assert parent.sum(EVENTS).cells["login.succeeded",] == 1001
    assert clock.getDelayedCalls() == []
