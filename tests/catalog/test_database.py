"""One writer, shared commits, and errors that say what happened."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from twisted.internet.defer import DeferredList
from twisted.python.failure import Failure

from conch_pipe.catalog import Database, DirectDatabase
from conch_pipe.catalog.database import Writer
from conch_pipe.catalog.engine import make_engine
from conch_pipe.catalog.versions import bring_up_to_date
from conch_pipe.errors import Code, PipeError
from tests.catalog.conftest import Pump
from tests.conftest import CANARY

HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pump():
    return Pump()


@pytest.fixture
def database(tmp_path, pump):
    database = Database(f"sqlite:///{tmp_path}/catalog.sqlite", pump.deliver, busy_timeout_s=0.1)
    database.open()
    yield database
    pump.result(database.close())


def add(connection, name):
    connection.execute(text("INSERT INTO organisations VALUES (:n, :n, '2026-11-21 00:00:00.000000')"), {"n": name})
    return name


def add_and_raise(connection, name):
    add(connection, name)
    raise PipeError(Code.CONFLICT, "not this one")


def names(connection):
    return sorted(connection.execute(text("SELECT name FROM organisations")).scalars())


def while_the_writer_waits(database, works):
    """Queue works behind one that waits, so that the writer finds all of them at once."""
    waiting, go = threading.Event(), threading.Event()

    def wait(connection):
        waiting.set()
        go.wait(20)

    first = database.write(wait)
    waiting.wait(20)
    results = [database.write(*work) for work in works]
    go.set()
    return DeferredList([first, *results], consumeErrors=True).addCallback(lambda pairs: pairs[1:])


@pytest.fixture
def commits():
    """Counts COMMITs of transactions that write."""
    seen = []

    def committed(connection):
        if connection.get_execution_options().get("writes"):
            seen.append(connection)

    event.listen(Engine, "commit", committed)
    yield seen
    event.remove(Engine, "commit", committed)


def test_writes_that_wait_together_share_one_commit(database, pump, commits):
    works = [(add, f"o{number}") for number in range(20)]

    results = pump.result(while_the_writer_waits(database, works))

    assert results == [(True, f"o{number}") for number in range(20)]
    assert len(commits) == 1
    assert len(pump.result(database.read(names))) == 20


def test_a_write_that_fails_undoes_only_itself(database, pump, commits):
    works = [(add, "a"), (add_and_raise, "b"), (add, "a"), (add, "c")]

    (_, a), (_, refused), (_, twice), (_, c) = pump.result(while_the_writer_waits(database, works))

    assert (a, refused.value.code, twice.value.code, c) == ("a", Code.CONFLICT, Code.FAILED, "c")
    assert len(commits) == 1
    assert pump.result(database.read(names)) == ["a", "c"]


def test_the_first_of_a_group_that_fails_takes_nobody_with_it(tmp_path):
    """It has no savepoint: the transaction that it ends holds nothing else, and the others get another."""
    engine = make_engine(f"sqlite:///{tmp_path}/catalog.sqlite", 0.1)
    bring_up_to_date(engine)
    works = [(add_and_raise, "a"), (add_and_raise, "b"), (add, "c"), (add_and_raise, "d"), (add, "c"), (add, "e")]

    writer = Writer(engine)
    told = writer.run(partial(_swapped, function, name) for function, name in works)
    writer.close()

    codes = [one.value.code if isinstance(one, Failure) else one for one in told]
    assert codes == [Code.CONFLICT, Code.CONFLICT, "c", Code.CONFLICT, Code.FAILED, "e"]
    with engine.connect() as connection:
        assert names(connection) == ["c", "e"]
    engine.dispose()


def _swapped(function, name, connection):
    return function(connection, name)


def test_a_commit_that_fails_leaves_its_whole_group_in_doubt(database, pump):
    """Nobody may be told that it did not happen; the next transaction is not harmed."""

    def add_secret_without_credential(connection):
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))  # found wrong at COMMIT only
        connection.execute(text("INSERT INTO secrets VALUES (1, 'nobody', 'x', '2026-11-21 00:00:00', NULL)"))

    results = pump.result(while_the_writer_waits(database, [(add, "a"), (add_secret_without_credential,)]))

    assert [failure.value.code for _, failure in results] == [Code.UNKNOWN_OUTCOME] * 2
    assert pump.result(database.write(add, "b")) == "b"
    assert pump.result(database.read(names)) == ["b"]


def test_a_full_disk_fails_the_group_and_not_what_comes_later(database, pump):
    """SQLite then undoes the whole transaction, also the savepoints of those who succeeded."""

    def fill(connection):
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        for number in range(1000):
            add(connection, f"{number:0200}")

    results = pump.result(while_the_writer_waits(database, [(add, "a"), (fill,), (add, "b")]))

    assert [failure.value.code for _, failure in results] == [Code.NO_SPACE] * 3
    pump.result(database.write(lambda connection: connection.execute(text("PRAGMA max_page_count = 1000000")).scalar()))
    assert pump.result(database.write(add, "c")) == "c"
    assert pump.result(database.read(names)) == ["c"]


def test_a_database_held_by_another_process_is_busy_and_then_free(database, pump, tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "catalog.sqlite")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"held\n"

        with pytest.raises(PipeError) as caught:
            pump.result(database.write(add, "a"))
    finally:
        other.communicate()

    assert caught.value.code is Code.BUSY
    assert pump.result(database.write(add, "b")) == "b"
    assert pump.result(database.read(names)) == ["b"]


def test_closing_finishes_what_is_queued_and_leaves_no_thread(tmp_path, pump):
    before = set(threading.enumerate())
    database = Database(f"sqlite:///{tmp_path}/catalog.sqlite", pump.deliver)
    database.open()
    written = [database.write(add, f"o{number}") for number in range(5)]
    pump.result(database.read(names))

    pump.result(database.close())

    assert set(threading.enumerate()) == before
    assert [pump.result(one) for one in written] == [f"o{number}" for number in range(5)]
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.sqlite"], "the WAL is checkpointed"


@pytest.mark.parametrize("make", [lambda url, pump: Database(url, pump.deliver), lambda url, _: DirectDatabase(url)])
def test_a_closed_database_refuses_politely(tmp_path, pump, make):
    database = make(f"sqlite:///{tmp_path}/catalog.sqlite", pump)
    pump.result(database.close())
    database.open()
    pump.result(database.close())
    pump.result(database.close())

    for call in (database.read, database.write):
        with pytest.raises(PipeError) as caught:
            pump.result(call(names))
        assert caught.value.code is Code.BUSY


def test_a_commit_reaches_the_disk_before_anyone_is_told(database, pump):
    """NORMAL would lose acknowledged uploads on a power cut."""

    def pragmas(connection):
        wanted = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.execute(text(f"PRAGMA {name}")).scalar() for name in wanted]

    assert pump.result(database.write(pragmas)) == ["wal", 2, 1]
    assert pump.result(database.read(pragmas)) == ["wal", 2, 1]


def test_an_unforeseen_error_rises_as_it_is(database, pump):
    def wrong(connection):
        return 1 // 0

    for call in (database.read, database.write):
        with pytest.raises(ZeroDivisionError):
            pump.result(call(wrong))


def test_an_unforeseen_error_before_the_transaction_reaches_its_caller(database, pump):
    """The write was taken off the queue and never asked for: its caller waited for ever."""

    def fail_to_begin(connection):
        raise ZeroDivisionError

    event.listen(Engine, "begin", fail_to_begin)
    try:
        with pytest.raises(ZeroDivisionError):
            pump.result(database.write(add, "a"))
    finally:
        event.remove(Engine, "begin", fail_to_begin)

    assert pump.result(database.write(add, "b")) == "b"


def test_an_error_of_the_database_tells_no_data(database, pump):
    def twice(connection):
        add(connection, CANARY)
        add(connection, CANARY)

    with pytest.raises(PipeError) as caught:
        pump.result(database.write(twice))

    assert caught.value.code is Code.FAILED
    assert CANARY not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize("url", ["postgresql://db/catalog", "mysql://db/catalog"])
def test_a_database_that_is_not_supported_is_refused(url):
    with pytest.raises(PipeError, match="sqlite"):
        DirectDatabase(url).open()


def test_a_damaged_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"not a database" * 1000)

    with pytest.raises(PipeError) as caught:
        DirectDatabase(f"sqlite:///{path}").open()

    assert (caught.value.code, caught.value.message) == (Code.FAILED, "the catalog's file is damaged")
    assert path.read_bytes() == b"not a database" * 1000
