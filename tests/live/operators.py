"""An operator's program: a token for everything, and JSON over HTTP."""

from __future__ import annotations

import http.client
import json
from typing import Any

from tests.live.service import Service


class Program:
    """Asks a running service.

    :ivar token: that all its requests have.
    """

    def __init__(self, service: Service) -> None:
        self.port = json.loads(service.command("status", "--json"))["http_port"]
        made = service.command("token", "create", "tests", "--scope", "all", "--json", gives_secret=True)
        self.token = json.loads(made)["token"]

    def start(self, method: str, path: str, **fields: Any) -> http.client.HTTPConnection:
        """A request whose answer has not been read; close it."""
        return self.send(method, path, json.dumps(fields).encode(), "application/json")

    def send(
        self, method: str, path: str, body: bytes, kind: str, most: int | None = None
    ) -> http.client.HTTPConnection:
        """The same with any body; or only so many bytes of it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind, "Content-Length": str(len(body))}
        connection.request(method, path, body[:most], headers)
        return connection

    def ask(self, method: str, path: str, **fields: Any) -> tuple[int, Any]:
        """The status and the document."""
        return answer(self.start(method, path, **fields))


def answer(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    """The status and the document."""
    try:
        answered = connection.getresponse()
        return answered.status, json.load(answered)
    finally:
        connection.close()
