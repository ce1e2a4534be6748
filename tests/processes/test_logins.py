"""Failed logins count together in the service and in its door processes, as the assembly joins them."""

from __future__ import annotations

import queue
from socket import AF_INET
from types import SimpleNamespace
from typing import Any

import pytest

from conch_pipe.assembly import assemble, doors
from conch_pipe.login.slowness import CLIENT_DELAY_S
from conch_pipe.model import Peer
from conch_pipe.settings import Settings
from conch_pipe.ssh.server.hostkeys import generate
from tests.processes.test_doors import Machine, Port
from tests.sftp.fakes import HeardEvents

NAME, OTHER = b"no client has this name!", b"nor this one!"  # neither can be one, so no catalog is asked
HERE, THERE = "192.0.2.1", "198.51.100.1"
FREE = 3


class Inet(Port):
    """A port whose socket is of IPv4."""

    addressFamily = AF_INET


class Reactor(Machine):
    """With a port and threads; what threads have done waits until the test looks."""

    def __init__(self) -> None:
        super().__init__()
        self.done: queue.Queue[Any] = queue.Queue()
        self.advance(1_800_000_000)

    def listenTCP(self, *args: Any, **options: Any) -> Inet:
        return Inet()

    def callFromThread(self, function: Any, *args: Any, **options: Any) -> None:
        self.done.put(lambda: function(*args, **options))


class Yard:
    """The service with two door processes; of the first there is the login as well, of the other what it is told."""

    def __init__(self, folder: Any) -> None:
        generate(folder / "key", "ed25519")
        self.settings = Settings.model_validate(
            {
                "service": {"processes": 2, "state": folder},
                "ssh": {"host_keys": [folder / "key"]},
                "spool": {"folder": folder},
                "limits": {"failures_per_minute": FREE},
            }
        )
        self.reactor = Reactor()
        self.gateway = assemble(self.settings, self.reactor)
        self.gateway.log = (folder / "log").open("w")
        self.gateway.sftp.startService()
        self.process, self.other = self.reactor.started
        self.process.says(ready=True)
        self.other.says(ready=True)
        self.parent = self.gateway.login
        key = bytes.fromhex(self.gateway.document(1, 0)["key"])
        no_catalog: Any = SimpleNamespace(credentials=None)
        self.child = doors.login(
            self.settings,
            no_catalog,
            HeardEvents(),
            self.reactor,
            say=lambda **words: self.process.says(**words),
            key=key,
        )
        self.logins = (self.parent, self.child)
        for login in self.logins:
            login.start()

    def fail(self, login: Any, name: bytes, address: str) -> bool:
        """A login with a wrong secret, to its end. :returns: whether it had to wait for its turn."""
        answers: list[Any] = []
        peer = Peer(address, 5, "SSH-2.0-test", "0123456789abcdef")
        login.check(name, b"kanarek-wrong", peer, lambda: True).addBoth(answers.append)
        waited = bool(self.reactor.getDelayedCalls())
        if waited:
            self.reactor.advance(CLIENT_DELAY_S)
        while not answers and not self.reactor.getDelayedCalls():  # the least time of a failure comes after the check
            self.reactor.done.get(timeout=60)()
        self.reactor.advance(2)
        assert answers[0].getErrorMessage() == "login failed"
        return waited

    def close(self) -> None:
        for login in self.logins:
            login.stop()
        self.gateway.sftp.drain(0)
        for process in (self.process, self.other):
            process.ends()
        self.gateway.log.close()


@pytest.fixture
def yard(tmp_path):
    yard = Yard(tmp_path)
    yield yard
    yard.close()


def test_failures_in_a_door_process_slow_down_logins_over_http(yard):
    for _ in range(FREE):
        assert not yard.fail(yard.child, NAME, HERE)

    assert yard.fail(yard.parent, NAME, THERE), "the account"
    assert yard.fail(yard.parent, OTHER, HERE), "the address"
    assert [order["source"] for order in yard.other.orders if "failed" in order][:FREE] == [HERE] * FREE


def test_failures_over_http_slow_down_logins_in_every_door_process(yard):
    for _ in range(FREE):
        assert not yard.fail(yard.parent, NAME, HERE)
    told = [order for order in yard.process.orders if "failed" in order]
    assert told == [order for order in yard.other.orders if "failed" in order]
    assert NAME.decode() not in repr(told)

    for order in told:
        yard.child.hear(order)

    assert yard.fail(yard.child, NAME, THERE), "the account"
    assert yard.fail(yard.child, OTHER, HERE), "the address"
