"""Two tenants doing anything in any order never see, change or lose each other's files: a model held against us."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.conch.ssh.filetransfer import SFTPError

from tests.sftp.conftest import EXCL, PUT, SCHEMAS, Connection, Service
from tests.sftp.test_tree import DOSE

SIZES = {"acme-1": 1, "rival-1": 1000}  # bytes of a write: a size tells whose file it is
NAMES = ("a.csv", "b.csv", "a.csv.part", "b.csv.part")
DENIED, MISSING = 3, 2


@dataclass
class Open:
    """A handle as the model knows it."""

    client: str
    connection: Connection
    key: tuple[str, str]
    handle: Any
    size: int = 0
    removed: bool = False


@dataclass
class Known:
    """What a client's paths answer: size, and whether it is open, waits for its name, or is accepted."""

    size: int
    state: str
    by: Any = None


@dataclass
class Tenant:
    paths: dict[tuple[str, str], Known] = field(default_factory=dict)
    accepted: list[tuple[str, str, bytes]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)


clients = st.sampled_from(sorted(SIZES))
keys = st.tuples(st.sampled_from(sorted(SCHEMAS)), st.sampled_from(NAMES))


class TwoTenants(RuleBasedStateMachine):
    """Each with up to three connections; all names are the same for both."""

    @initialize()
    def start(self) -> None:
        self.service = Service()
        self.tenants = {client: Tenant() for client in SIZES}
        self.handles: list[Open] = []
        self.shown: dict[Connection, set[tuple[str, str]]] = {}
        for client in SIZES:
            self.connect(client)

    @rule(client=clients)
    def connect(self, client: str) -> None:
        tenant = self.tenants[client]
        if len(tenant.connections) < 3:
            connection = self.service.login(client, client.partition("-")[0])
            connection.channel()
            tenant.connections.append(connection)
            self.shown[connection] = set()

    @rule(client=clients, which=st.integers(0, 2))
    def leave(self, client: str, which: int) -> None:
        tenant = self.tenants[client]
        if len(tenant.connections) < 2:
            return
        connection = tenant.connections.pop(which % len(tenant.connections))
        connection.end()
        for one in [one for one in self.handles if one.connection is connection]:
            self.handles.remove(one)
            if tenant.paths.get(one.key, Known(0, "")).by is one:
                tenant.paths[one.key] = Known(0, "gone")

    def newest(self, one: Open) -> Known | None:
        """What its path answers, while no other file was opened under it and it was not renamed away."""
        known = self.tenants[one.client].paths.get(one.key)
        return known if known is not None and known.by is one else None

    def pair(self, client: str, which: int) -> tuple[Connection, Any]:
        connection = self.tenants[client].connections[which % len(self.tenants[client].connections)]
        return connection, connection.pairs[0]

    @precondition(lambda self: len(self.handles) < 6)
    @rule(client=clients, which=st.integers(0, 2), key=keys, exclusive=st.booleans())
    def open(self, client: str, which: int, key: tuple[str, str], exclusive: bool) -> None:
        connection, pair = self.pair(client, which)
        paths = self.tenants[client].paths
        there = paths.get(key, Known(0, "gone")).state != "gone"
        try:
            handle = pair.open("/".join(key).encode(), PUT | EXCL * exclusive)
        except SFTPError:
            assert exclusive
            assert there
            return
        assert not (exclusive and there)
        opened = Open(client, connection, key, handle)
        self.handles.append(opened)
        paths[key] = Known(0, "open", opened)
        self.shown[connection].add(key)

    @precondition(lambda self: self.handles)
    @rule(which=st.integers(0, 5))
    def write(self, which: int) -> None:
        one = self.handles[which % len(self.handles)]
        data = one.client[:1].encode() * SIZES[one.client]
        try:
            one.connection.pairs[0].ask(one.handle.writeChunk(one.size, data))
        except SFTPError:
            assert one.removed
            return
        assert not one.removed
        one.size += len(data)
        if (known := self.newest(one)) is not None:
            known.size = one.size

    @precondition(lambda self: self.handles)
    @rule(which=st.integers(0, 5))
    def close(self, which: int) -> None:
        one = self.handles.pop(which % len(self.handles))
        tenant = self.tenants[one.client]
        temporary = one.key[1].endswith(".part")
        try:
            one.connection.pairs[0].ask(one.handle.close())
        except SFTPError:
            assert one.removed or (temporary and self.newest(one) is None)
            return
        assert not one.removed
        if not temporary:
            tenant.accepted.append((*one.key, one.client[:1].encode() * one.size))
        if (known := self.newest(one)) is not None:
            known.state = "waiting" if temporary else "done"

    @rule(client=clients, which=st.integers(0, 2), key=keys, name=st.sampled_from(NAMES))
    def rename(self, client: str, which: int, key: tuple[str, str], name: str) -> None:
        connection, pair = self.pair(client, which)
        tenant = self.tenants[client]
        known = tenant.paths.get(key, Known(0, "gone"))
        possible = known.state == "waiting" and not name.endswith(".part")
        try:
            pair.ask(pair.client.renameFile("/".join(key).encode(), f"{key[0]}/{name}".encode()))
        except SFTPError as error:
            assert not possible
            assert (error.code == MISSING) == (known.state == "gone")
            return
        assert possible
        del tenant.paths[key]
        new = (key[0], name)
        tenant.paths[new] = Known(known.size, "done")
        tenant.accepted.append((*new, client[:1].encode() * known.size))
        for shown in (self.shown[one] for one in tenant.connections):
            if key in shown:
                shown.discard(key)
                shown.add(new)
        self.shown[connection].add(new)

    @rule(client=clients, which=st.integers(0, 2), key=keys)
    def remove(self, client: str, which: int, key: tuple[str, str]) -> None:
        connection, pair = self.pair(client, which)
        paths = self.tenants[client].paths
        known = paths.get(key, Known(0, "gone"))
        temporary = key[1].endswith(".part")
        cleared = not temporary and paths.get((key[0], key[1] + ".part"), Known(0, "")).state == "waiting"
        try:
            pair.ask(pair.client.removeFile("/".join(key).encode()))
        except SFTPError as error:
            assert error.code == (MISSING if known.state == "gone" else DENIED)
            assert known.state == "gone" or not (temporary or cleared)
            return
        assert known.state != "gone"
        assert temporary or cleared
        if temporary and known.by is not None and known.state == "open":
            known.by.removed = True
        paths[key] = Known(0, "gone")
        if not temporary:
            self.shown[connection].add(key)

    @rule(client=clients, which=st.integers(0, 2), key=keys)
    def stat(self, client: str, which: int, key: tuple[str, str]) -> None:
        _, pair = self.pair(client, which)
        known = self.tenants[client].paths.get(key, Known(0, "gone"))
        try:
            size = pair.stat("/".join(key).encode())["size"]
        except SFTPError as error:
            assert error.code == MISSING
            assert known.state == "gone"
            return
        assert known.state != "gone"
        assert size == known.size

    @rule(client=clients, which=st.integers(0, 2), schema=st.sampled_from(sorted(SCHEMAS)))
    def list(self, client: str, which: int, schema: str) -> None:
        connection, pair = self.pair(client, which)
        for name, _, attrs in pair.rows(schema.encode()):
            assert (schema, name.decode()) in self.shown[connection]
            assert attrs["size"] < 1000 if client == "acme-1" else attrs["size"] % 1000 == 0

    @rule(client=clients, which=st.integers(0, 2), key=keys)
    def settings_are_ignored(self, client: str, which: int, key: tuple[str, str]) -> None:
        _, pair = self.pair(client, which)
        known = self.tenants[client].paths.get(key)
        try:
            pair.ask(pair.client.setAttrs("/".join(key).encode(), {"permissions": 0o777}))
        except SFTPError as error:
            assert error.code == MISSING
            assert known is None or known.state == "gone"

    @rule()
    def time_passes(self) -> None:
        self.service.clock.advance(1)
        self.service.visits.sweep()

    @invariant()
    def what_was_accepted_is_what_its_own_client_sent(self) -> None:
        if not hasattr(self, "service"):
            return
        for client, tenant in self.tenants.items():
            recorded = [
                (one.schema, one.name, self.service.intake.contents[one.id])
                for one in self.service.uploads.records
                if one.client_id == client
            ]
            assert recorded == tenant.accepted

    def teardown(self) -> None:
        if not hasattr(self, "service"):
            return
        for tenant in self.tenants.values():
            for connection in tenant.connections:
                connection.end()
        assert not self.service.intake.live, "an upload was left over"
        assert len(self.service.visits) == 0


TwoTenants.TestCase.settings = settings(max_examples=40 * DOSE, stateful_step_count=40, deadline=None)
TestTwoTenants = TwoTenants.TestCase
