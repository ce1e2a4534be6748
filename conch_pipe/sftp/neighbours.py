"""What the door processes of one port must ask and tell each other about their clients.

A client with several connections may have them in several processes, and put a file on one that it looks at, renames
or removes on another (rclone). Who has the file does it; who was asked by the client asks for it. Messages are JSON
documents that the parent passes on in their order; it also says who was asked and who is gone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from conch_pipe.errors import Code, PipeError
from conch_pipe.sftp.shelf import Key, Put, Shelf, State

Say = Callable[..., None]
Found = Mapping[str, Any]


@dataclass(slots=True)
class _Question:
    """Asked and not answered by everybody yet."""

    doing: str
    result: Deferred[Found | None] = field(default_factory=Deferred)
    asked: set[int] | None = None  # indexes; None until the parent has said
    gone: bool = False  # one that was asked has ended


class Neighbours:
    """The other processes.

    :param shelves: client_id → what it has put in this process.
    :param elsewhere: whether a client has connections in other processes.
    :param say: sends a message to the parent; None: there are no others.
    """

    _log = Logger(namespace="conch_pipe.sftp")

    def __init__(self, shelves: Mapping[str, Shelf], elsewhere: Callable[[str], bool], say: Say | None = None) -> None:
        self._shelves = shelves
        self._elsewhere = elsewhere
        self._say = say
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}

    # Asking.

    def find(self, client_id: str, key: Key) -> Deferred[Found | None]:
        """A file that the client has put in another process.

        :returns: Deferred of ``size`` and ``at``, with ``gone`` when it was refused or dropped; or of None.
        """
        return self._ask("find", client_id, key)

    def remove(self, client_id: str, key: Key) -> Deferred[Found | None]:
        """Drop the client's unfinished file. :returns: Deferred of None when no other process has one."""
        return self._ask("remove", client_id, key)

    def rename(self, client_id: str, key: Key, name: str) -> Deferred[Found | None]:
        """Accept the client's finished file under its final name.

        :returns: Deferred of ``size``; of None when no other process has one.
        :raises PipeError: as Put.rename; UNKNOWN_OUTCOME when the process that had it has died meanwhile.
        """
        return self._ask("rename", client_id, key, name)

    def _ask(self, doing: str, client_id: str, key: Key, name: str = "") -> Deferred[Found | None]:
        if self._say is None or not self._elsewhere(client_id):
            return succeed(None)
        number = next(self._numbers)
        question = self._questions[number] = _Question(doing)
        self._say(ask=number, doing=doing, client_id=client_id, schema=key[0], file=key[1], name=name)
        return question.result

    # Hearing.

    def hear(self, message: Mapping[str, Any]) -> bool:
        """A message from the parent. :returns: whether it was one of these."""
        if "asked" in message:
            Deferred.fromCoroutine(self._answer(message)).addErrback(self._unanswered)
        elif "asking" in message:
            number = int(message["asking"])
            if number in self._questions:
                self._questions[number].asked = set(message["of"])
                self._look(number)
        elif "answer" in message:
            self._answered(int(message["answer"]), message)
        elif "gone" in message:
            for number, question in list(self._questions.items()):
                if question.asked is not None and message["gone"] in question.asked:
                    question.asked.discard(message["gone"])
                    question.gone = True
                    self._look(number)
        else:
            return False
        return True

    def _answered(self, number: int, message: Mapping[str, Any]) -> None:
        question = self._questions.get(number)
        if question is None:
            return  # another one had the file
        found = message["found"]
        if found is None:
            if question.asked is not None:
                question.asked.discard(message["by"])
            self._look(number)
            return
        del self._questions[number]
        if "refused" in found:
            code, text = found["refused"]
            question.result.errback(PipeError(Code(code), text))
        else:
            question.result.callback(found)

    def _look(self, number: int) -> None:
        """Has everybody said no?"""
        question = self._questions[number]
        if question.asked:
            return
        del self._questions[number]
        if question.gone and question.doing == "rename":
            question.result.errback(PipeError(Code.UNKNOWN_OUTCOME, "the server lost the file's process"))
        else:
            question.result.callback(None)

    # Answering.

    async def _answer(self, asked: Mapping[str, Any]) -> None:
        found: Found | None = None
        try:
            found = await self._done(asked)
        except PipeError as error:
            found = {"refused": [error.code.value, error.message]}
        finally:
            assert self._say is not None
            self._say(answer=asked["asked"], to=asked["by"], found=found)

    async def _done(self, asked: Mapping[str, Any]) -> Found | None:
        shelf = self._shelves.get(asked["client_id"])
        key = (asked["schema"], asked["file"])
        put = None if shelf is None else shelf.find(key)
        if shelf is None or put is None or put.state is State.UNKNOWN or put.key != key:
            return None
        if asked["doing"] == "find":
            return {"size": put.size, "at": put.at, "gone": put.state is State.GONE}
        await put.settled()
        if put.final is None or put.state is State.GONE or put.key != key:
            return None
        if asked["doing"] == "remove":
            put.drop("removed by the client")
            return {"size": 0}
        return await self._rename(shelf, put, key, asked["name"])

    @staticmethod
    async def _rename(shelf: Shelf, put: Put, key: Key, name: str) -> Found:
        if put.state is State.WRITING:
            raise PipeError(Code.CONFLICT, "close the file before renaming it")
        await put.rename((key[0], name))
        shelf.renamed(put, key)
        return {"size": put.size}

    def _unanswered(self, failure: Failure) -> None:
        self._log.failure("a question of another process was not answered", failure)
