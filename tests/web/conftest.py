"""The HTTP door in memory: raw bytes at one end, the real intake and catalog at the other, and a Clock."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from werkzeug.routing import UUIDConverter

from conch_pipe.catalog import Catalog, KeyFile
from conch_pipe.catalog.queries import credentials
from conch_pipe.errors import Code, PipeError
from conch_pipe.formats.schema import SchemaBook, shipped
from conch_pipe.health import Health
from conch_pipe.intake.arrivals import Arrivals
from conch_pipe.intake.intake import Intake
from conch_pipe.intake.intake import Limits as IntakeLimits
from conch_pipe.intake.recordings import RecordingIntake
from conch_pipe.login.people import SignIns
from conch_pipe.login.slowness import Slowness
from conch_pipe.metrics.catalogue import COUNTED
from conch_pipe.metrics.counting import Counting
from conch_pipe.metrics.exposition import Exposition
from conch_pipe.metrics.tally import Tally
from conch_pipe.model import Actor, Client, Scope, utc
from conch_pipe.objects.folder import FolderObjects
from conch_pipe.operations.together import Means, operations
from conch_pipe.settings import Settings
from conch_pipe.web.api import application
from conch_pipe.web.limits import Limits
from conch_pipe.web.parts import Parts
from conch_pipe.web.routes import Route, Router
from conch_pipe.web.site import Site
from conch_pipe.web.tokens import Tokens
from tests import catalogs
from tests.sftp.fakes import HeardEvents

START = 1_800_000_000.0
SECRET = "kanarek-0123456789012345678901234567890123456"
MAX_BYTES = 1_000_000
SCHEMA = "orgShifts"
CSRF = "of-a-form"


class Answer:
    """One response as it was on the wire."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:200]!r}>"


def answers(data: bytes, heads: int = 0) -> list[Answer]:
    """Responses one after another; the last ``heads`` have no body."""
    found: list[Answer] = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = 0 if heads else int(headers.get("content-length", 0))
        found.append(Answer(int(first.split()[1]), headers, data[:length]))
        data = data[length:]
    return found


class Transport(StringTransport):
    """Remembers whether it was cut."""

    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True
        self.loseConnection()


class Connection:
    """One TCP connection."""

    def __init__(self, door: Door, address: str = "192.0.2.1") -> None:
        self.door = door
        self.transport = Transport(hostAddress=IPv4Address("TCP", "127.0.0.1", 80))
        self.channel = door.site.buildProtocol(IPv4Address("TCP", address, 50_000))
        if self.channel is not None:
            self.channel.makeConnection(self.transport)
            door.connections.append(self)

    def send(self, data: bytes) -> Connection:
        self.channel.dataReceived(data)
        return self

    def ask(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Connection:
        """Send a request; a header's name is written with underscores."""
        lines = [f"{method} {path} HTTP/1.1"]
        headers = {"Host": "pipe.example", **headers}
        if body and "Transfer_Encoding" not in headers:
            headers.setdefault("Content_Length", str(len(body)))
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    @property
    def answers(self) -> list[Answer]:
        return answers(self.transport.value())

    @property
    def answer(self) -> Answer:
        (found,) = self.answers
        return found

    def cut(self) -> None:
        if self.channel is not None and self in self.door.connections:
            self.door.connections.remove(self)
            self.channel.connectionLost(Failure(ConnectionError("cut")))

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting


def every_path(router: Router) -> list[tuple[Route, str]]:
    """Every route there is, with a path that leads to it: of something that does not exist."""
    paths = router._map.bind("pipe.example")
    found = []
    for rule in router._map.iter_rules():
        values = {name: UUID(int=7) if isinstance(of, UUIDConverter) else "x" for name, of in rule._converters.items()}
        found.append((router._routes[rule.endpoint], paths.build(rule.endpoint, values)))
    return found


class Inline:
    """Threads that are none."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def __call__(self, function: Any, *args: Any) -> Deferred[Any]:
        return execute(function, *args)


class StubLogin:
    """An ILogin for one client; how slow and alike failures are is the login core's own test."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.asked: list[tuple[bytes, bytes]] = []
        self.waits: list[bool] = []
        self.broken: PipeError | None = None
        self.held: list[Deferred[None]] | None = None

    def check(self, username: bytes, secret: bytes, peer: Any, waits: Any) -> Deferred[Client]:
        self.asked.append((username, secret))
        if self.held is not None:
            self.held.append(Deferred())
            return self.held[-1].addCallback(lambda _: self._check(username, secret, peer, waits))
        try:
            return succeed(self._check(username, secret, peer, waits))
        except PipeError as error:
            return fail(error)

    def _check(self, username: bytes, secret: bytes, peer: Any, waits: Any) -> Client:
        self.waits.append(waits())
        if self.broken:
            raise self.broken
        if (username.decode(), secret.decode()) != (self.door.client_id, SECRET):
            raise PipeError(Code.UNAUTHORIZED, "login failed")
        return Client(self.door.client_id, "acme", frozenset({SCHEMA}), peer)


OPERATOR = Actor("olga", frozenset(Scope))
MEMBER = Actor("mina", frozenset({Scope.READ}), "acme")


class StubSigning:
    """Whoever the test says has signed in; who may come in is the sign-in's own test."""

    actor: Actor | None = None

    async def of(self, request: Any) -> Actor | None:
        return self.actor

    def csrf(self, request: Any) -> str:
        return CSRF

    def check(self, request: Any, csrf: str) -> None:
        if csrf != CSRF:
            raise PipeError(Code.NOT_ALLOWED, "this form did not come from a page of this service")


class Door:
    """Everything behind the listening socket."""

    def __init__(self, folder: Any, limits: Limits, forwarded_from: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.clock = Clock()
        self.clock.advance(START)
        self.events = HeardEvents()
        self.database = catalogs.in_memory()
        keys = KeyFile(folder / "secrets.key")
        keys.make()
        self.catalog = Catalog(self.database, self.clock, keys)
        self.catalog.people.cost = 4  # of bcrypt
        self.now(self.catalog.organisations.create("acme"))
        self.now(self.catalog.organisations.enable_schema("acme", SCHEMA))
        self.client_id = self.credential("acme")
        schemas = SchemaBook(shipped())
        schemas.refresh()
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.objects = FolderObjects(folder / "objects", execute)
        self.intake = Intake(
            self.spool,
            self.objects,
            self.catalog.uploads,
            self.events,
            self.clock,
            execute,
            schemas,
            IntakeLimits(max_bytes=MAX_BYTES, free_bytes=0, free_share=0, free_inodes_share=0, small_bytes=1000),
        )
        self.tokens = Tokens([b"k" * 32], self.clock.seconds, 900)
        self.login = StubLogin(self)
        self.sign_ins = SignIns(
            self.catalog.people, Inline(), Slowness(self.clock, 10, 20), self.events, self.clock, cost=4
        )
        self.signing = StubSigning()
        self.limits = limits
        self.tally = Tally(COUNTED)
        self.events.listeners.append(Counting(self.tally))
        self.checks: dict[str, Any] = {"catalog": lambda: "it answers", "disk": lambda: "there is room"}
        self.settings = Settings()
        self.recordings = folder / "recordings"
        self.recordings.mkdir()
        self.recording_intake = RecordingIntake(
            self.catalog.recordings, [self.recordings], execute, self.events, self.clock
        )
        self.arrivals = Arrivals(self.recordings, self.recording_intake, execute, self.clock)
        self.around: Any = None  # what connects to remotes and to webhooks, where a test has it
        self.sender: Any = None
        self.operations = operations(
            Means(
                settings=self.settings,
                catalog=self.catalog,
                clock=self.clock,
                in_thread=execute,
                schemas=lambda: schemas,
                objects=lambda: self.objects,
                intake=lambda: self.recording_intake,
                arrivals=lambda: self.arrivals,
                around=lambda: self.around,
                sender=lambda: self.sender,
            )
        )
        self.parts = Parts(
            intake=self.intake,
            uploads=self.catalog.uploads,
            credentials=self.catalog.credentials,
            login=self.login,
            operations=self.operations,
            tokens=self.catalog.tokens,
            people=self.catalog.people,
            sign_ins=self.sign_ins,
            events=self.events,
            clock=self.clock,
            limits=limits,
            max_bytes=MAX_BYTES,
            sftp_port=lambda: 2222,
            health=Health({name: partial(self.check, name) for name in self.checks}, self.clock),
            metrics=Exposition(self.tally, self.clock),
            metrics_from=("127.0.0.0/8",),
        )
        self.site = Site(
            application(self.parts, self.tokens, self.signing),
            self.events,
            self.clock,
            limits,
            forwarded_from,
        )
        self.connections: list[Connection] = []

    def now(self, asked: Deferred[Any]) -> Any:
        fired: list[Any] = []
        asked.addBoth(fired.append)
        if isinstance(fired[0], Failure):
            fired[0].raiseException()
        return fired[0]

    def check(self, name: str) -> Any:
        """What /readyz is told of a part."""
        return self.checks[name]()

    def credential(self, organisation: str) -> str:
        """A client_id; hashing the secret would take longer than most tests, and StubLogin has its own."""
        created = self.now(self.database.write(credentials.create, organisation, "", b"", utc(self.clock)))
        return created.client_id

    def connect(self, address: str = "192.0.2.1") -> Connection:
        return Connection(self, address)

    def bearer(self, client_id: str = "") -> str:
        return f"Bearer {self.tokens.issue(client_id or self.client_id)}"

    def operator(self, *scopes: Scope, organisation: str | None = None) -> str:
        """The Authorization of an operator's token with these scopes, or all there are."""
        _, text = self.now(self.catalog.tokens.create("test", scopes or tuple(Scope), organisation))
        return f"Bearer {text}"

    def ask(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Answer:
        """One request with a token, on a connection of its own."""
        headers.setdefault("Authorization", self.bearer())
        return self.connect().ask(method, path, body, **headers).answer

    def page(self, path: str, actor: Actor | None = OPERATOR, **headers: str) -> Answer:
        """A page of the dashboard as somebody sees it."""
        self.signing.actor = actor
        return self.connect().ask("GET", path, **headers).answer

    def fill(self, path: str, actor: Actor | None = OPERATOR, csrf: str = CSRF, **fields: Any) -> Answer:
        """A form of the dashboard is sent; a field that is a list is there several times."""
        self.signing.actor = actor
        body = urlencode({"csrf": csrf, **fields}, doseq=True).encode()
        return self.connect().ask("POST", path, body, Content_Type="application/x-www-form-urlencoded").answer

    def uploads(self) -> tuple[Any, ...]:
        return self.now(self.catalog.uploads.list())

    def spooled(self) -> list[str]:
        return [path.name for path in self.spool.iterdir()]

    def advance(self, seconds: float, step: float = 0.5) -> None:
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step

    def close(self) -> None:
        for connection in list(self.connections):
            connection.cut()
        self.database.close()
        assert self.clock.getDelayedCalls() == []
        assert self.site.connections == 0


LIMITS = Limits(body_bytes=MAX_BYTES + (1 << 20))


@pytest.fixture
def make(tmp_path):
    """A function that makes a Door with other limits."""
    made: list[Door] = []

    def door(forwarded_from: tuple[str, ...] = (), **changes: Any) -> Door:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Door(folder, replace(LIMITS, **changes), forwarded_from))
        return made[-1]

    yield door
    for one in made:
        one.close()


@pytest.fixture
def door(make) -> Door:
    return make()


def form(*parts: tuple[str, str | bytes] | tuple[str, str | bytes, str], boundary: str = "xyz") -> bytes:
    """A multipart/form-data body of (name, value) and (name, content, filename)."""
    body = b""
    for name, value, *filename in parts:
        extra = f'; filename="{filename[0]}"' if filename else ""
        data = value if isinstance(value, bytes) else value.encode()
        body += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + data + b"\r\n"
        )
    return body + f"--{boundary}--\r\n".encode()


FORM = "multipart/form-data; boundary=xyz"
