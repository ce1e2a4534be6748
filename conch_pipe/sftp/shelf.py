"""What a client has put lately: each file from its OPEN until it is forgotten, over all connections of the client.

Answers STAT and listings, and holds temporary names until they are renamed. In memory only: an accepted upload's
record is in the catalog, and forgetting one here loses nothing.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IUpload
from conch_pipe.model import Upload

Key = tuple[str, str]  # schema, name

SHELF_LENGTH = 10_000  # files remembered per client over all connections; the catalog answers for older ones


class State(enum.Enum):
    """Where a file that is being put stands."""

    WRITING = "writing"
    CLOSING = "closing"  # CLOSE came, not answered yet
    WAITING = "waiting"  # complete under a temporary name, until RENAME or REMOVE
    NAMING = "naming"  # RENAME came, not answered yet
    DONE = "done"  # accepted: nothing takes it away any more
    GONE = "gone"  # refused, dropped or cut: STAT must say so, else paramiko takes an older version for this one
    UNKNOWN = "unknown"  # accepted or not, only the catalog can tell


_MOVING = frozenset({State.CLOSING, State.NAMING})
_FINAL = frozenset({State.DONE, State.GONE, State.UNKNOWN})


class Put:
    """One file as STAT, listings, RENAME and REMOVE see it.

    :param upload: an IUpload; None for a name that is to look absent.
    :param final: the name it will have, when this one is temporary.
    :param clock: gives POSIX time in seconds.
    """

    __slots__ = ("key", "final", "state", "at", "_upload", "_size", "_clock", "_unwanted", "_waiting")

    def __init__(self, key: Key, upload: IUpload | None, *, final: str | None, clock: Callable[[], float]) -> None:
        self.key = key
        self.final = final
        self.state = State.WRITING if upload is not None else State.GONE
        self.at = clock()
        self._upload: Any = upload  # None once nothing can happen to it any more
        self._size = 0
        self._clock = clock
        self._unwanted: str | None = None  # nobody will rename it once its CLOSE is through
        self._waiting: list[Deferred[None]] = []

    @classmethod
    def accepted(cls, key: Key, size: int, clock: Callable[[], float]) -> Put:
        """A file that another process has accepted for a connection here."""
        put = cls(key, None, final=None, clock=clock)
        put._done(size)
        return put

    @property
    def size(self) -> int:
        """Bytes: so far while it is written, then for good."""
        return self._size if self._upload is None else int(self._upload.size)

    @property
    def running(self) -> bool:
        """True while a client may still make an upload of it."""
        return self.state not in _FINAL

    def settled(self) -> Deferred[None]:
        """Fires when no CLOSE or RENAME of it is under way; requests may be pipelined behind one."""
        if self.state not in _MOVING:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def expect(self, size: int) -> None:
        """The client declared the final size; 0 before the first byte only empties a file that is empty already."""
        if self.state is State.WRITING and (size or self.size):
            self._upload.expect(size)

    def close(self) -> Deferred[None]:
        """The client closed the file.

        :raises PipeError: it was refused, and is gone.
        """
        self._to(State.CLOSING)
        closing: Deferred[Upload | None] = self._upload.finish()
        return closing.addCallbacks(self._closed, self._not_closed)

    def _closed(self, done: Upload | None) -> None:
        if done is not None:
            self._done(done.bytes)
            return
        self._to(State.WAITING)
        if self._unwanted is not None:
            self.drop(self._unwanted)

    def _not_closed(self, failure: Failure) -> Failure:
        if isinstance(failure.value, PipeError):
            self._refused(failure.value)
        else:
            self._failed("it could not be stored")
        return failure

    async def rename(self, key: Key) -> None:
        """Accept a file that waits under a temporary name.

        :param key: its final name, in the same schema.

        :raises PipeError: it was refused, and is gone.
        """
        self._to(State.NAMING)
        try:
            done = await self._upload.commit(key[1])
            self.key = key
            self._done(done.bytes)
        except PipeError as error:
            self._refused(error)
            raise
        finally:
            if self.state is State.NAMING:
                self._failed("it could not be stored")

    def drop(self, why: str) -> None:
        """Drop the bytes, unless the file is accepted or about to be; after a CLOSE under way if it then waits.

        :param why: one short sentence for the event.
        """
        if self.state in (State.WRITING, State.WAITING):
            self._failed(why)
        elif self.state is State.CLOSING:
            self._unwanted = why

    def _lost(self) -> None:
        """The upload is refused or dropped already; what is left is to say so."""
        self._upload = None
        self._size = 0
        self._to(State.GONE)

    def _refused(self, error: PipeError) -> None:
        self._lost()
        if error.code is Code.UNKNOWN_OUTCOME:
            self._to(State.UNKNOWN)

    def _failed(self, why: str) -> None:
        upload = self._upload
        self._lost()
        upload.abort(why)

    def _done(self, size: int) -> None:
        self._upload = None
        self._size = size
        self.final = None
        self._to(State.DONE)

    def _to(self, state: State) -> None:
        self.state = state
        self.at = self._clock()
        if state not in _MOVING:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)


class Shelf:
    """The files of one client, the newest of each name.

    :param clock: gives POSIX time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._puts: dict[Key, Put] = {}
        self._unfinished: list[Put] = []  # and some that have been finished since
        self.forgot_at = -math.inf  # POSIX time at which one was last forgotten because they were too many

    def __len__(self) -> int:
        return len(self._puts)

    def __iter__(self) -> Iterator[Put]:
        return iter(self._puts.values())

    def find(self, key: Key) -> Put | None:
        """The newest file put under this name; perhaps GONE."""
        return self._puts.get(key)

    def add(self, put: Put) -> None:
        """A new version under its name; one that waited there for its final name is dropped."""
        before = self._puts.pop(put.key, None)
        if before is not None and before.state is State.WAITING:
            before.drop("put again under the same temporary name")
        self._puts[put.key] = put
        self._unfinished.append(put)
        while len(self._puts) > SHELF_LENGTH:
            oldest = next((one for one in self._puts.values() if not one.running), None)
            if oldest is None:
                break
            del self._puts[oldest.key]
            self.forgot_at = self._clock()

    def renamed(self, put: Put, old: Key) -> None:
        """A file got its final name; the temporary one is free again."""
        if self._puts.get(old) is put:
            del self._puts[old]
        self.add(put)

    def waits_for(self, key: Key) -> bool:
        """Whether a complete file is about to take this name: ``a.csv.filepart`` for ``a.csv``."""
        schema, name = key
        return any(
            put.state is State.WAITING and put.key[0] == schema and put.final == name for put in self._puts.values()
        )

    def sweep(self, keep_s: float, leftover_s: float) -> None:
        """Forget what ended more than ``keep_s`` ago; drop what waited longer than ``leftover_s`` for its name."""
        now = self._clock()
        self._unfinished = [put for put in self._unfinished if put.running]
        for put in list(self._puts.values()):
            if put.state is State.WAITING and now - put.at >= leftover_s:
                put.drop("never renamed to a final name")
            elif not put.running and now - put.at >= keep_s:
                del self._puts[put.key]

    def clear(self) -> None:
        """The client's last connection is gone: nobody is left to rename anything."""
        unfinished, self._unfinished = self._unfinished, []
        for put in unfinished:
            put.drop("the session ended before it was renamed to a final name")
