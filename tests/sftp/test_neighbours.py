"""What is asked of other processes, who answers, and what a death in between means."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import succeed
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Client, Peer
from conch_pipe.sftp.neighbours import Neighbours
from conch_pipe.sftp.shelf import Put, Shelf, State
from conch_pipe.sftp.visits import Visits
from conch_pipe.ssh.server.tally import OwnTally

KEY = ("orgShifts", "a.csv.part")


class Upload:
    """A finished upload under its temporary name."""

    size = 5
    bytes = 5

    def __init__(self) -> None:
        self.names: list[str] = []
        self.dropped: list[str] = []

    def finish(self) -> Any:
        return succeed(None)

    def commit(self, name: str) -> Any:
        self.names.append(name)
        return succeed(self)

    def abort(self, why: str) -> None:
        self.dropped.append(why)


class Street:
    """Two processes and their parent; what is said waits until ``deliver``."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, dict[str, Any]]] = []
        self.shelves: list[dict[str, Shelf]] = [{}, {"client": Shelf(lambda: 1.0)}]
        self.houses = [
            Neighbours(shelves, lambda _: True, lambda index=index, **said: self.waiting.append((index, said)))
            for index, shelves in enumerate(self.shelves)
        ]
        self.upload = Upload()
        self.put = Put(KEY, self.upload, final="a.csv", clock=lambda: 1.0)
        self.shelves[1]["client"].add(self.put)

    def deliver(self) -> None:
        while self.waiting:
            by, said = self.waiting.pop(0)
            if "ask" in said:
                self.houses[by].hear({"asking": said["ask"], "of": [1 - by]})
                self.houses[1 - by].hear({**said, "asked": said["ask"], "by": by})
            else:
                self.houses[said.pop("to")].hear({**said, "by": by})


@pytest.fixture
def street() -> Street:
    return Street()


def got(deferred: Any) -> Any:
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "has not fired"
    return found[0].value if isinstance(found[0], Failure) else found[0]


def test_who_has_the_file_renames_it(street):
    street.put.state = State.WAITING

    renamed = street.houses[0].rename("client", KEY, "a.csv")
    street.deliver()

    assert got(renamed)["size"] == 5
    assert street.upload.names == ["a.csv"]
    assert street.shelves[1]["client"].find(("orgShifts", "a.csv")) is street.put


def test_a_file_that_is_being_written_is_seen_and_not_renamed(street):
    seen = street.houses[0].find("client", KEY)
    renamed = street.houses[0].rename("client", KEY, "a.csv")
    street.deliver()

    assert got(seen)["size"] == 5
    assert got(renamed).code is Code.CONFLICT


def test_who_has_the_file_removes_it(street):
    street.put.state = State.WAITING

    removed = street.houses[0].remove("client", KEY)
    street.deliver()

    assert got(removed) is not None
    assert street.upload.dropped == ["removed by the client"]


@pytest.mark.parametrize(("client_id", "key"), [("other", KEY), ("client", ("orgShifts", "b.csv.part"))])
def test_nobody_has_the_file_of_another_client_or_name(street, client_id, key):
    asked = [street.houses[0].find(client_id, key), street.houses[0].rename(client_id, key, "x.csv")]
    street.deliver()

    assert [got(each) for each in asked] == [None, None]


@pytest.mark.parametrize("doing", ["find", "remove", "rename"])
def test_the_death_of_who_was_asked_is_no_answer_and_after_a_rename_nothing_is_certain(street, doing):
    name = ["a.csv"] if doing == "rename" else []
    asked = getattr(street.houses[0], doing)("client", KEY, *name)
    street.houses[0].hear({"asking": 1, "of": [1]})

    street.houses[0].hear({"gone": 1})

    answer = got(asked)
    assert (answer.code is Code.UNKNOWN_OUTCOME) if doing == "rename" else (answer is None)


def test_nobody_is_asked_about_a_client_with_no_connection_elsewhere():
    said: list[dict[str, Any]] = []
    visits = Visits(None, lambda *_: None, say=lambda **message: said.append(message))

    assert got(visits.neighbours.find("client", KEY)) is None
    assert said == []


def test_a_clients_connections_are_counted_over_all_processes(clock):
    """Two that share a tally: what one has, the other counts."""
    tally = OwnTally()
    one, two = (Visits(clock, lambda *_: None, per_client=2, tally=tally) for _ in range(2))
    client = Client("client", "acme", frozenset(), Peer("192.0.2.1", 1, "", "s"))
    first = one.open(client)
    two.open(client)

    with pytest.raises(PipeError, match="at most 2"):
        two.open(client)
    one.close(first)

    two.open(client)


@pytest.fixture
def clock() -> Any:
    from twisted.internet.task import Clock

    return Clock()
