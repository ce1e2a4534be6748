"""The bytes of a request's body as they come: never more than a piece of them in memory.

Whoever reads is the brake: above MUCH the connection is not read, until LITTLE are left.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from conch_pipe.errors import Code, PipeError

MUCH, LITTLE = 256 * 1024, 64 * 1024


class Body:
    """One body.

    :param length: bytes it will have, or None: chunks until their end.
    :param limit: bytes at most.
    :param wanted: called before the first read, when the client may be waiting for a word.
    :param hold: called with True to stop the bytes from coming, with False to let them come.
    """

    def __init__(
        self, length: int | None, limit: int, wanted: Callable[[], None], hold: Callable[[bool], None]
    ) -> None:
        self.length = length
        self.complete = length == 0
        self.received = 0
        self.held = False
        self.limit = limit
        self._wanted = wanted
        self._asked = False
        self._hold = hold
        self._buffer = bytearray()
        self._error: Exception | None = None
        self._dropped = False
        self._waiting: Deferred[None] | None = None

    # What the connection says.

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        self.received += len(data)
        if self._dropped or self._error is not None:
            return
        if self.received > self.limit:
            self.fail(PipeError(Code.TOO_LARGE, "the request is too large"))
            return
        self._buffer += data
        if len(self._buffer) > MUCH:
            self._brake(True)
        self._wake()

    def end(self) -> None:
        """There are no more."""
        self.complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """There will be no more, and these are not all: the reader gets the error."""
        if self._error is None and not self.complete:
            self._error = error
            self._buffer.clear()
            self._brake(False)
            self._wake()

    # What the reader says.

    async def read(self) -> bytes:
        """Some bytes, at most about MUCH; none: that was all. One reader at a time.

        :raises PipeError: TOO_LARGE. :raises Refused: too slow, or not HTTP. :raises Gone: the connection is lost.
        """
        if not self._asked:
            self._asked = True
            if not self.complete:
                self._wanted()
        while True:
            if self._error is not None:
                raise self._error
            if self._buffer:
                data = bytes(self._buffer)
                self._buffer.clear()
                self._brake(False)
                return data
            if self.complete:
                return b""
            self._waiting = Deferred(self._nobody)
            await self._waiting

    async def whole(self, limit: int) -> bytes:
        """All of it. :raises PipeError: TOO_LARGE, more than ``limit`` bytes."""
        if self.length is not None and self.length > limit:
            raise PipeError(Code.TOO_LARGE, f"this request has at most {limit} bytes")
        pieces = bytearray()
        while data := await self.read():
            pieces += data
            if len(pieces) > limit:
                raise PipeError(Code.TOO_LARGE, f"this request has at most {limit} bytes")
        return bytes(pieces)

    def drop(self) -> None:
        """Nobody reads any more: what still comes is thrown away."""
        self._dropped = True
        self._buffer.clear()
        self._brake(False)

    def _brake(self, held: bool) -> None:
        if held is not self.held and (held or len(self._buffer) <= LITTLE):
            self.held = held
            self._hold(held)

    def _nobody(self, _: Deferred[None]) -> None:
        self._waiting = None

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
