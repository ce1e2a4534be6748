"""A program of the operator at the door in memory: JSON in, JSON out, and a look whether a secret was ever told."""

from __future__ import annotations

import json
from typing import Any

from conch_pipe.model import Scope
from tests.conftest import CANARY
from tests.web.conftest import Answer, Connection, Door


class Program:
    """Has a token.

    :ivar told: every answer so far.
    """

    def __init__(self, door: Door, *scopes: Scope, organisation: str | None = None) -> None:
        self.door = door
        self.token = door.operator(*scopes, organisation=organisation)
        self.told: list[bytes] = []

    def start(self, method: str, path: str, **fields: Any) -> Connection:
        """A request on a connection of its own."""
        body = json.dumps(fields).encode() if fields or method in ("POST", "PATCH") else b""
        headers = {"Content_Type": "application/json"} if body else {}
        return self.door.connect().ask(method, path, body, Authorization=self.token, **headers)

    def ask(self, method: str, path: str, status: int = 200, **fields: Any) -> Any:
        """What is answered to it, which must have that status."""
        return self.read(self.start(method, path, **fields), status)

    def read(self, connection: Connection, status: int = 200) -> Any:
        """The answer that has come."""
        answer: Answer = connection.answer
        self.told.append(answer.body)
        assert CANARY.encode() not in answer.body, answer
        assert answer.status == status, answer
        return answer.json

    def refused(self, method: str, path: str, status: int, **fields: Any) -> Any:
        """The error."""
        return self.ask(method, path, status, **fields)["error"]
