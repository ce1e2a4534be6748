"""Where we connect to, and where never: a name is resolved once, and the address that was judged is connected to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_twisted import ensureDeferred
from twisted.internet.address import IPv4Address as Place
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, TCPTimedOutError, UserError
from twisted.internet.protocol import Factory, Protocol

from conch_pipe.model import Status
from conch_pipe.remotes.addresses import AddressRefused, RemoteEndpoint, host_mistake, refusal
from conch_pipe.ssh.client.errors import NameNotFound, Unreachable
from conch_pipe.ssh.client.tcp import PushingReactor
from tests.remotes.net import Net
from tests.remotes.pushing import ADDRESS, World

PUBLIC = "93.184.215.14"
OTHER = "151.101.1.69"


def endpoint(net: Net, host: str, **options) -> RemoteEndpoint:
    return RemoteEndpoint(net, host, 22, **options)


def connect(net: Net, host: str, within_s: float = 60, **options):
    factory = Factory.forProtocol(Protocol)
    factory.noisy = False
    return net.outcome(endpoint(net, host, **options).connect(factory), within_s)


@pytest.fixture
def net():
    """PUBLIC and OTHER listen."""
    net = Net()
    net.servers = {(PUBLIC, 22): Protocol, (OTHER, 22): Protocol, ("127.0.0.1", 22): Protocol}
    return net


# What may be written.


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.7",
        "sftp.example.com",
        "sftp.example.com.",
        "localhost",
        "a",
        "x-1.example",
        "_sftp.example",
        "1.example",
        "0x7f.example",
        "xn--bcher-kva.example",
        ".".join(["a" * 61] * 4),
    ],
)
def test_an_address_or_a_domain_name_may_be_a_host(host):
    assert host_mistake(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "-a.example",
        "a-.example",
        "a b",
        "a\n",
        "a/b",
        "user@host",
        "host:22",
        "b\u00fccher.example",
        "a" * 64,
        ".".join(["a" * 63] * 5),
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "fe80::1%eth0",
    ],
)
def test_anything_else_may_not(host):
    assert host_mistake(host) is not None


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.1..",
        "0",
        "0x",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "example.127",
        "example.0x7f",
    ],
)
def test_a_number_that_a_resolver_would_take_for_an_address_is_none(net, host):
    """getaddrinfo makes 127.0.0.1 of most of them."""
    net.names[host] = ["127.0.0.1"]

    with pytest.raises(AddressRefused):
        connect(net, host)

    assert net.asked == []
    assert net.connected == []


# Which addresses are public.


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255"),
        *("127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255"),
        *("192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255"),
        *("198.51.100.1", "203.0.113.1", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255"),
    ],
)
def test_addresses_that_are_not_public_are_refused_unless_allowed(address):
    found = IPv4Address(address)

    assert refusal(found) is not None
    assert refusal(found, [IPv4Network("8.0.0.0/8")]) is not None
    assert refusal(found, [IPv4Network(f"{address}/32")]) is None


@pytest.mark.parametrize(
    "address",
    ["1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"]
    + ["169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"]
    + ["198.17.255.255", "198.20.0.0", "223.255.255.255", PUBLIC],
)
def test_the_rest_is_public(address):
    assert refusal(IPv4Address(address)) is None


@given(st.integers(0, 2**32 - 1))
def test_nothing_that_python_knows_to_be_special_is_public(number):
    address = IPv4Address(number)

    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert refusal(address) is not None


# Names.


def test_a_name_is_resolved_and_its_address_connected_to(net):
    net.names["sftp.example"] = [PUBLIC]

    connect(net, "sftp.example")

    assert [(host, port) for host, port, _ in net.connected] == [(PUBLIC, 22)]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.100.1.1"])
def test_a_name_of_an_address_that_is_not_public_is_refused(net, address):
    net.names["inner.example"] = [address]

    with pytest.raises(AddressRefused, match=address):
        connect(net, "inner.example")

    assert net.connected == []


@pytest.mark.parametrize(
    "answer",
    [
        Place("TCP", "::ffff:127.0.0.1", 22),
        IPv6Address("TCP", "::ffff:127.0.0.1", 22),
        IPv6Address("TCP", "2606:2800:220::1", 22),
        Place("TCP", "127.1", 22),
    ],
)
def test_answers_that_are_not_ipv4_are_not_looked_at(net, answer):
    net.names["odd.example"] = [[answer]]

    with pytest.raises(NameNotFound):
        connect(net, "odd.example")

    assert net.connected == []


def test_a_name_without_an_address_is_not_found(net):
    with pytest.raises(NameNotFound):
        connect(net, "nobody.example")


def test_an_answer_that_changes_between_check_and_connect_changes_nothing(net):
    """DNS rebinding: the name is asked for once, and its judged address is what is connected to."""
    net.names["rebinding.example"] = [[PUBLIC], ["127.0.0.1"]]

    connect(net, "rebinding.example")

    assert net.asked == ["rebinding.example"]
    assert [host for host, _, _ in net.connected] == [PUBLIC]


def test_of_several_addresses_only_public_ones_are_tried(net):
    net.names["mixed.example"] = [["127.0.0.1", PUBLIC, "10.0.0.1"]]

    connect(net, "mixed.example")

    assert [host for host, _, _ in net.connected] == [PUBLIC]


def test_the_next_address_is_tried_when_one_refuses_or_is_silent(net):
    net.names["two.example"] = [[PUBLIC, OTHER]]
    for dead in (ConnectionRefusedError(), None):
        net.servers[PUBLIC, 22] = dead
        net.connected.clear()

        began = net.seconds()
        connect(net, "two.example", timeout_s=10)

        assert [host for host, _, _ in net.connected] == [PUBLIC, OTHER]
        assert net.seconds() - began <= 6


def test_when_all_fail_the_last_failure_is_told(net):
    net.names["two.example"] = [[PUBLIC, OTHER]]
    net.servers[PUBLIC, 22] = TCPTimedOutError()
    net.servers[OTHER, 22] = ConnectionRefusedError()

    with pytest.raises(ConnectionRefusedError):
        connect(net, "two.example")


def test_not_more_than_four_addresses_are_tried(net):
    net.names["many.example"] = [[f"93.184.215.{last}" for last in range(50, 70)]]

    with pytest.raises(ConnectionRefusedError):
        connect(net, "many.example")

    assert len(net.connected) == 4


def test_a_given_resolver_is_asked_instead_of_the_reactors(net):
    other = Net()
    other.names["sftp.example"] = [PUBLIC]

    connect(net, "sftp.example", resolver=other)

    assert (net.asked, other.asked) == ([], ["sftp.example"])


def test_a_source_address_is_bound(net):
    connect(net, PUBLIC, source="198.51.100.4")

    assert net.connected == [(PUBLIC, 22, ("198.51.100.4", 0))]


def test_allowed_networks_let_private_remotes_in(net):
    net.names["inner.example"] = ["127.0.0.1"]

    connect(net, "inner.example", allowed=[IPv4Network("127.0.0.0/8")])

    assert [host for host, _, _ in net.connected] == ["127.0.0.1"]


# The time.


@pytest.mark.parametrize("what", ["name", "tcp", "version"])
def test_ten_seconds_are_for_the_name_tcp_version_and_keys_together(tmp_path, what):
    world = World(tmp_path)
    world.net.names["sftp.example"] = None if what == "name" else [ADDRESS]
    if what == "tcp":
        world.net.servers[ADDRESS, 22] = None
    elif what == "version":
        world.net.servers[ADDRESS, 22] = Protocol

    report = world.push(host="sftp.example", within_s=12)

    assert (report.status, report.reason) == (Status.SFTP_CONNECTION_TIMEOUT, "timeout")
    assert report.seconds == 10
    assert report.connected is (what == "version")


@ensureDeferred
async def test_a_source_address_that_is_not_ours_is_told():
    from twisted.internet import reactor

    allowed = [IPv4Network("127.0.0.0/8")]
    there = RemoteEndpoint(PushingReactor(reactor), "127.0.0.1", 9, allowed, "203.0.113.1")

    with pytest.raises(Unreachable, match=r"203\.0\.113\.1"):
        await there.connect(Factory.forProtocol(Protocol))


@ensureDeferred
async def test_a_connection_comes_from_the_source_address():
    from twisted.internet import reactor

    peers: Deferred[str] = Deferred()

    class Looks(Protocol):
        def connectionMade(self) -> None:
            peers.callback(self.transport.getPeer().host)
            self.transport.loseConnection()

    factory = Factory.forProtocol(Looks)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    gone: Deferred[None] = Deferred()

    class Waits(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            gone.callback(None)

    waits = Factory.forProtocol(Waits)
    waits.noisy = False
    allowed = [IPv4Network("127.0.0.0/8")]
    there = RemoteEndpoint(PushingReactor(reactor), "127.0.0.1", port.getHost().port, allowed, "127.0.0.2")
    await there.connect(waits)

    assert await peers == "127.0.0.2"
    await gone
    await port.stopListening()


def test_user_timeouts_are_failures_to_connect(net):
    net.servers[PUBLIC, 22] = UserError()

    with pytest.raises(UserError):
        connect(net, PUBLIC)
