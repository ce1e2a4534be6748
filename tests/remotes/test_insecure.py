"""What is told at a start of remotes that take any host key."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from conch_pipe.errors import Code, PipeError
from conch_pipe.events import Event, Events
from conch_pipe.remotes.insecure import tell_insecure
from tests.remotes.pushing import remote


def told(remotes) -> list[Event]:
    """The events of a start."""
    heard: list[Event] = []
    happenings = Events()
    happenings.listeners.append(heard.append)
    ended: list[object] = []
    Deferred.fromCoroutine(tell_insecure(remotes, happenings)).addBoth(ended.append)
    assert ended == [None]
    return heard


def test_each_remote_that_takes_any_key_is_named_and_no_other():
    heard = told(lambda: succeed((remote(), remote(any_host_key=True))))

    assert [(one.kind.name, one.fields["remote"]) for one in heard] == [("remote.insecure", "customer")]


def test_a_catalog_that_cannot_tell_keeps_nobody_from_starting():
    assert told(lambda: fail(PipeError(Code.BUSY, "busy"))) == []
