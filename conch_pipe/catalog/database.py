"""Connections to the catalog's database, and the one thread that writes.

Writes queue for a single thread, which runs everything waiting in one transaction and commits once: sessions that
close files at the same time share an fsync. Only when one of them fails do they run again, each with a savepoint:
SQLite copies every page that is changed inside one, for a large group into a temporary file. Reads run in a few other
threads. Knows no table; the query modules are plain functions that get a connection.

A function given to ``read`` or ``write`` runs in another thread: it gets all it needs as arguments and returns
plain values.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.python.failure import Failure

from conch_pipe.catalog import versions
from conch_pipe.catalog.engine import doubt, explain, explain_commit, make_engine
from conch_pipe.catalog.prepared import tell
from conch_pipe.errors import Code, PipeError

P = ParamSpec("P")
T = TypeVar("T")
Query = Callable[Concatenate[Connection, P], T]
Call = Callable[[Connection], Any]
Deliver = Callable[..., object]

TOGETHER = 256  # works in one transaction, at most, so that the first of them does not wait for long


class IsDatabase(Protocol):
    """What :class:`Database` and :class:`DirectDatabase` have in common."""

    def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run a function that only reads."""

    def write(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run a function in a transaction; fires when it is durable."""


class _Broken(Exception):
    """The whole transaction is gone, not only one savepoint (SQLite rolls back on a full disk)."""

    def __init__(self, error: PipeError) -> None:
        super().__init__(str(error))
        self.error = error


def _undo(transaction: RootTransaction, error: BaseException) -> Failure:
    """End a transaction in which a function has just failed. :returns: what its caller is told."""
    try:
        transaction.rollback()
    except DBAPIError as gone:
        raise _Broken(explain(error if isinstance(error, DBAPIError) else gone)) from gone
    return Failure(explain(error)) if isinstance(error, DBAPIError) else Failure()


def _one_by_one(connection: Connection, calls: Iterable[Call]) -> list[Any]:
    """Run functions in one transaction so that none that fails takes others along. :returns: as Writer.run."""
    results: list[Any] = []
    for call in calls:
        try:
            results.append(_in_savepoint(connection, call))
        except _Broken:
            raise
        except BaseException:  # noqa: BLE001 - it must reach its caller, and no other
            results.append(Failure())
    return results


def _in_savepoint(connection: Connection, call: Callable[[Connection], T]) -> T:
    try:
        tell(connection, "SAVEPOINT work")
    except DBAPIError as error:
        raise _Broken(explain(error)) from error
    try:
        result = call(connection)
        tell(connection, "RELEASE SAVEPOINT work")
    except BaseException as error:
        try:
            tell(connection, "ROLLBACK TO SAVEPOINT work")
            tell(connection, "RELEASE SAVEPOINT work")
        except DBAPIError as gone:
            raise _Broken(explain(error if isinstance(error, DBAPIError) else gone)) from gone
        if isinstance(error, DBAPIError):
            raise explain(error) from error
        raise
    return result


class Writer:
    """The connection that writes. It stays open: taking one for each transaction cost as much as all its SQL.

    :param engine: of which it is taken; anew after a transaction that failed as a whole.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def run(self, calls: Iterator[Call]) -> list[Any]:
        """Run functions in one transaction and commit once; one that fails undoes only its own changes.

        :param calls: functions of a Connection, which may be run twice; asked for when the database is ours, or when
            it cannot be had.
        :returns: what they returned, or a Failure in its place, in the same order; all have the same PipeError when
            the transaction failed.
        """
        taken: list[Call] = []
        try:
            return self._run(_noted(calls, taken))
        except BaseException as error:
            self.close(broken=True)
            if isinstance(error, _Broken):
                told = error.error
            elif isinstance(error, DBAPIError):
                told = explain(error)
            else:
                raise
            return [Failure(told) for _ in (*taken, *calls)]

    def _run(self, calls: Iterator[Call]) -> list[Any]:
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(writes=True)
        connection = self._connection
        transaction = connection.begin()
        results: list[Any] = []
        together: list[Call] = []  # what the transaction holds, without savepoints
        for call in calls:
            try:
                results.append(call(connection))
                together.append(call)
            except BaseException as error:  # noqa: BLE001 - it must reach its caller, and no other
                failure = _undo(transaction, error)
                transaction = connection.begin()
                if together:
                    del results[-len(together) :]
                    results += _one_by_one(connection, chain(together, [call], calls))
                else:
                    results.append(failure)
        try:
            transaction.commit()
        except DBAPIError as error:
            told = explain_commit(error)
            if told.code is Code.UNKNOWN_OUTCOME:
                self.close(broken=True)
                doubt(self._engine)
            raise _Broken(told) from error
        return results

    def close(self, *, broken: bool = False) -> None:
        """Give the connection back.

        :param broken: nobody shall have it any more.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            if broken:
                connection.invalidate()
            connection.close()


def _noted(calls: Iterable[Call], taken: list[Call]) -> Iterator[Call]:
    for call in calls:
        taken.append(call)
        yield call


def _current(url: str, busy_timeout_s: float) -> Engine:
    """An engine over a database of the newest version; nothing stays open when it is refused."""
    engine = make_engine(url, busy_timeout_s)
    try:
        versions.bring_up_to_date(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _read(engine: Engine, query: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    try:
        with engine.begin() as connection:
            return query(connection, *args, **kwargs)
    except DBAPIError as error:
        raise explain(error) from error


def _tell(results: list[Any], waiting: list[Deferred[Any]]) -> None:
    for result, done in zip(results, waiting, strict=True):
        done.callback(result)  # a Failure is one there, too


_Read = tuple[Engine, Callable[..., Any], tuple[Any, ...], dict[str, Any], Deferred[Any]]
_Work = tuple[Call, Deferred[Any]]
_CLOSE: _Work = (lambda _: None, Deferred())


class Database:
    """The catalog's database for the service.

    :param url: see :func:`make_engine`.
    :param deliver: ``reactor.callFromThread``: brings results back to the reactor's thread.
    :param busy_timeout_s: how long a write waits for another process before it fails with BUSY.
    :param readers: threads that read, at most.
    :param turn: held while writing; for several processes on one database, see turn.py.
    """

    def __init__(
        self,
        url: str,
        deliver: Deliver,
        *,
        busy_timeout_s: float = 5.0,
        readers: int = 2,
        turn: AbstractContextManager[None] | None = None,
    ) -> None:
        self._turn = turn or nullcontext()
        self._url = url
        self._deliver = deliver
        self._busy_timeout_s = busy_timeout_s
        self._readers = [
            threading.Thread(target=self._read_until_closed, name=f"catalog-read-{number}", daemon=True)
            for number in range(readers)
        ]
        # Not a ThreadPool: its turns cost several times what a short query does.
        self._reads: queue.SimpleQueue[_Read | None] = queue.SimpleQueue()
        self._queue: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._engine: Engine | None = None
        self._closed: Deferred[None] | None = None

    def open(self) -> None:
        """Connect, migrate when needed, start the threads. Blocks; called once, before anything is served.

        :raises PipeError: the file cannot be opened, is damaged, or was written by a newer version.
        """
        engine = self._engine = _current(self._url, self._busy_timeout_s)
        for reader in self._readers:
            reader.start()
        self._writer = threading.Thread(
            target=self._write_until_closed, args=(engine,), name="catalog-write", daemon=True
        )
        self._writer.start()

    def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run ``query(connection, *args, **kwargs)`` in a reading thread.

        :raises PipeError: BUSY, FAILED, or what the function raised.
        """
        engine = self._engine
        if engine is None:
            return fail(_closed())
        done: Deferred[T] = Deferred()
        self._reads.put((engine, query, args, kwargs, done))
        return done

    def write(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run ``query(connection, *args, **kwargs)`` in the writing thread; fires when it is durable.

        :raises PipeError: BUSY or FAILED: nothing happened. UNKNOWN_OUTCOME: the COMMIT failed. Or what the
            function raised; its changes are undone then.
        """
        if self._engine is None:
            return fail(_closed())
        done: Deferred[T] = Deferred()
        self._queue.put((lambda connection: query(connection, *args, **kwargs), done))
        return done

    def close(self) -> Deferred[None]:
        """Finish what is queued, end the threads, close the files. :returns: fires when that is done."""
        if self._engine is None or self._writer is None:
            return succeed(None)
        self._closed = Deferred()
        self._queue.put(_CLOSE)
        self._engine = None  # from here on everything is refused; the writer has its own reference
        writer = self._writer
        return self._closed.addCallback(lambda _: writer.join())

    def _read_until_closed(self) -> None:
        while (read := self._reads.get()) is not None:
            engine, query, args, kwargs, done = read
            try:
                result = _read(engine, query, args, kwargs)
            except BaseException:  # noqa: BLE001 - it must reach its caller and not end this thread
                self._deliver(done.errback, Failure())
            else:
                self._deliver(done.callback, result)

    def _write_until_closed(self, engine: Engine) -> None:
        writer = Writer(engine)
        while (first := self._queue.get()) is not _CLOSE:
            self._commit_together(writer, first)
        writer.close()
        for _ in self._readers:
            self._reads.put(None)
        for reader in self._readers:
            reader.join()
        engine.dispose()
        assert self._closed is not None
        self._deliver(self._closed.callback, None)

    def _commit_together(self, writer: Writer, first: _Work) -> None:
        works: list[_Work] = []

        def waiting() -> Iterator[Call]:
            work = first
            while True:
                works.append(work)
                yield work[0]
                if self._queue.empty() or len(works) == TOGETHER:
                    return
                work = self._queue.get()
                if work is _CLOSE:
                    self._queue.put(_CLOSE)  # nothing comes after it
                    return

        try:
            with self._turn:
                results = writer.run(waiting())
        except BaseException:  # noqa: BLE001 - what nobody foresaw must reach its callers and not end this thread
            results = [Failure() for _ in works or [first]]
        self._deliver(_tell, results, [done for _, done in works or [first]])


class DirectDatabase:
    """The same, at once and in the calling thread: for the command line and for synchronous tests.

    :param url: see :func:`make_engine`; ``sqlite://`` is a fresh database in memory.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 5.0) -> None:
        self._url = url
        self._busy_timeout_s = busy_timeout_s
        self._engine: Engine | None = None

    def open(self) -> None:
        """See :meth:`Database.open`."""
        self._engine = _current(self._url, self._busy_timeout_s)

    def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """:returns: a Deferred that has fired."""
        if self._engine is None:
            return fail(_closed())
        return execute(_read, self._engine, query, args, kwargs)

    def write(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """:returns: a Deferred that has fired; the change is durable."""
        if self._engine is None:
            return fail(_closed())
        writer = Writer(self._engine)
        try:
            (result,) = writer.run(iter([lambda connection: query(connection, *args, **kwargs)]))
        finally:
            writer.close()
        return fail(result) if isinstance(result, Failure) else succeed(result)

    def close(self) -> Deferred[None]:
        """Close the files."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        return succeed(None)


def _closed() -> PipeError:
    return PipeError(Code.BUSY, "the catalog is closed")
