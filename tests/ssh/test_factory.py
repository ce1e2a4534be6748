"""Who gets in, who is there, and how all are sent home."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from twisted.conch.ssh.keys import Key
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.server.proxy_protocol import SIGNATURE
from conch_pipe.ssh.server.tally import Count, OwnTally, SharedTally
from tests.conftest import CANARY
from tests.ssh.memory import Door
from tests.ssh.pair import Pair, Wire, host_key
from tests.ssh.talk import closing, opening

WRONG = b"wrong " + CANARY.encode()
PROXY = "10.0.0.9"
CLIENT = "198.51.100.7"


def a_door(**limits: float) -> Door:
    return Door([host_key()], Clock(), Limits(**limits))  # type: ignore[arg-type]


def knock(door: Door, address: str = "192.0.2.7") -> Any:
    """What becomes of one more connection."""
    return door.factory.buildProtocol(IPv4Address("TCP", address, 5000))


def header(address: str = CLIENT, command: int = 0x21) -> bytes:
    addresses = ip_address(address).packed + bytes([10, 0, 0, 1]) + struct.pack(">HH", 40_000, 2222)
    return SIGNATURE + struct.pack(">BBH", command, 0x11, len(addresses)) + addresses


class Admission(SynchronousTestCase):
    """The caps."""

    def fill(self, door: Door, addresses: list[str]) -> int:
        """How many of these are let in."""
        build = door.factory.buildProtocol
        kind = IPv6Address if ":" in addresses[0] else IPv4Address
        return sum(build(kind("TCP", address, 5000)) is not None for address in addresses)

    def test_ten_of_an_address_may_be_not_logged_in(self) -> None:
        door = a_door()

        self.assertEqual(self.fill(door, ["192.0.2.1"] * 12), 10)
        self.assertEqual(self.fill(door, ["192.0.2.2"] * 1), 1)

        reason = "more than 10 connections of one address not logged in"
        self.assertEqual(door.listener.refusals, [reason] * 2)

    def test_twenty_of_an_address_may_be_logged_in(self) -> None:
        door = a_door()
        for _ in range(20):
            Pair(door).log_in()

        self.assertEqual(self.fill(door, ["192.0.2.7"]), 0)
        self.assertEqual(door.listener.refusals, ["more than 20 connections of one address"])

    def test_fifty_may_be_not_logged_in(self) -> None:
        door = a_door()

        self.assertEqual(self.fill(door, [f"192.0.2.{n}" for n in range(60)]), 50)

    def test_the_total_is_bounded(self) -> None:
        door = a_door(connections=5)

        self.assertEqual(self.fill(door, [f"192.0.2.{n}" for n in range(10)]), 5)
        self.assertEqual(door.listener.refusals[-1], "more than 5 connections")

    def test_an_ipv6_network_of_64_bits_counts_as_one_address(self) -> None:
        door = a_door()

        self.assertEqual(self.fill(door, [f"2001:db8::{n:x}" for n in range(12)]), 10)
        self.assertEqual(self.fill(door, ["2001:db8:0:1::1"]), 1)

    def test_ipv4_clients_of_an_ipv6_socket_count_each_for_itself(self) -> None:
        door = a_door()

        self.assertEqual(self.fill(door, [f"::ffff:192.0.2.{n}" for n in range(30)]), 30)
        self.assertEqual(self.fill(door, ["::ffff:192.0.2.3"] * 12), 9)

    def test_a_connection_that_ends_gives_its_place_back(self) -> None:
        door = a_door(per_address=1)
        pair = Pair(door).log_in()
        pair.cut()

        Pair(door).log_in()

        self.assertEqual(door.listener.refusals, [])

    def test_from_half_of_them_on_newcomers_are_dropped_at_random(self) -> None:
        lots = iter([0.99] * 25 + [0.29, 0.31])
        door = Door([host_key()], Clock(), chance=lambda: next(lots))

        self.assertEqual(self.fill(door, [f"192.0.2.{n}" for n in range(27)]), 26)
        self.assertEqual(door.listener.refusals, ["many connections not logged in: dropped at random"])

    def test_a_login_makes_room_for_another_one(self) -> None:
        door = a_door(not_logged_in_per_address=1)
        first = Pair(door)
        self.assertIsNone(knock(door))

        first.log_in()

        self.assertIsNotNone(knock(door))

    def test_what_was_counted_is_given_back_to_the_last_one(self) -> None:
        tally = OwnTally()
        door = Door([host_key()], Clock(), tally=tally, proxy_from=[PROXY])
        pairs = [Pair(door).log_in(), Pair(door, address="2001:db8::1"), Pair(door).ask_for_login()]
        pairs += [Pair(door, address=PROXY), Pair(door, address=PROXY, preamble=header()).log_in()]
        pairs += [Pair(door, address=PROXY, preamble=header(command=0x20)).pump()]
        self.assertEqual(tally.total(), Count(6, 4))

        for pair in pairs:
            pair.cut()

        self.assertEqual((tally.total(), tally.of("192.0.2.7"), tally.of(CLIENT)), (Count(),) * 3)
        self.assertEqual(door.clock.getDelayedCalls(), [])

    def test_two_processes_have_one_cap(self) -> None:
        memory = bytearray(SharedTally.size(2))
        SharedTally.prepare(memory, 2)
        clock = Clock()
        doors = [Door([host_key()], clock, tally=SharedTally(memory, index)) for index in (0, 1)]

        self.assertEqual([self.fill(door, ["192.0.2.1"] * 7) for door in doors], [7, 3])

    def test_a_flood_of_refusals_is_ten_lines_a_minute(self) -> None:
        door = a_door()

        self.fill(door, ["192.0.2.1"] * 30)
        door.clock.advance(60)
        self.fill(door, ["192.0.2.1"])

        reason = "more than 10 connections of one address not logged in"
        self.assertEqual(door.listener.refusals, [reason] * 10 + [f"{reason} (10 more)"])

    def test_the_listener_hears_of_each_connection_once(self) -> None:
        pair = Pair().log_in()
        pair.advance(10)
        pair.cut()
        pair.server.connectionLost()

        listener = pair.door.listener
        self.assertEqual((len(listener.opened_as), listener.endings[0]), (1, "the client closed the connection"))
        self.assertEqual(pair.door.factory.live(), [])


class Punishment(SynchronousTestCase):
    """Who is refused for what was done before."""

    def owed(self, door: Door, address: str = "192.0.2.7") -> float:
        """Seconds, also those that are too few to be refused for."""
        return max(0.0, door.factory._tally.sentence(address).owed_until - door.clock.seconds())

    def guess(self, door: Door, times: int, **pair: Any) -> None:
        one = Pair(door, **pair).ask_for_login()
        for _ in range(times):
            one.try_password(WRONG)
        one.cut()

    def test_three_wrong_passwords_at_once_shut_an_address_out_for_15_seconds(self) -> None:
        door = a_door()
        self.guess(door, 3)

        self.assertIsNone(knock(door))
        self.assertIsNotNone(knock(door, "192.0.2.8"))
        door.clock.advance(14.9)
        self.assertIsNone(knock(door))
        door.clock.advance(0.2)
        Pair(door).log_in()

    def test_known_and_unknown_users_cost_the_same(self) -> None:
        for user in (b"ann", b"nobody", b"x" * 200):
            door = a_door()
            pair = Pair(door).ask_for_login()
            for _ in range(3):
                pair.try_password(WRONG, user=user)
            pair.cut()

            door.clock.advance(14.9)
            self.assertIsNone(knock(door))
            door.clock.advance(0.2)
            self.assertIsNotNone(knock(door))

    def test_the_refusals_of_one_who_is_punished_are_one_line_a_minute(self) -> None:
        door = a_door()
        self.guess(door, 5)
        self.guess(door, 5, address="192.0.2.8")

        for _ in range(50):
            knock(door)
            knock(door, "192.0.2.8")

        self.assertEqual(door.listener.refusals, ["punished for 25 s more"] * 2)

    def test_a_login_costs_nothing_even_after_a_mistake(self) -> None:
        door = a_door()
        for _ in range(20):
            pair = Pair(door).ask_for_login()
            pair.try_password(WRONG)
            self.assertEqual(pair.try_password(), [52])
            pair.cut()
            door.clock.advance(6)

        self.assertIsNotNone(knock(door))

    def test_connections_that_never_try_to_log_in_cost_a_second_each(self) -> None:
        door = a_door()
        for _ in range(14):
            Pair(door).ask_for_login().cut()
        self.assertIsNotNone(knock(door))

        Pair(door).cut()

        self.assertIsNone(knock(door))

    def test_a_connection_that_breaks_the_protocol_costs_30_seconds_and_no_more(self) -> None:
        for broken in (b"SSH-2.0-x\r\n" + b"\xff" * 100, b"SSH-2.0-x\r\n" + bytes(100), b"x" * 300):
            door = a_door()
            server, wire = knock(door), Wire()
            server.makeConnection(wire)
            server.dataReceived(broken)
            server.connectionLost(Failure(ConnectionLost()))

            self.assertEqual(self.owed(door), 30)
            self.assertIsNone(knock(door))

    def test_what_is_no_ssh_client_costs_a_second(self) -> None:
        """A monitor that speaks HTTP to the wrong port must not shut everybody out."""
        door = a_door()
        server, wire = knock(door), Wire()
        server.makeConnection(wire)
        server.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        server.connectionLost(Failure(ConnectionLost()))

        self.assertEqual(self.owed(door), 1)

    def test_a_connection_that_is_not_logged_in_in_time_costs_ten_seconds(self) -> None:
        door = a_door()
        pairs = [Pair(door), Pair(door).ask_for_login()]
        for pair in pairs:
            pair.pump()
        door.clock.advance(30)
        for pair in pairs:
            pair.pump()

        self.assertEqual([pair.over for pair in pairs], [True, True])
        door.clock.advance(19.9)
        self.assertIsNone(knock(door))
        door.clock.advance(0.2)
        self.assertIsNotNone(knock(door))

    def test_whoever_waits_for_our_answer_is_not_late(self) -> None:
        door = a_door()
        door.checker.later = []
        pairs = [Pair(door).ask_for_login() for _ in range(2)]
        for pair in pairs:
            pair.try_password()
        door.clock.advance(30)
        for pair in pairs:
            pair.pump()

        self.assertEqual([pair.over for pair in pairs], [True, True])
        self.assertEqual(self.owed(door), 0)
        for answer in door.checker.later:
            answer.callback(None)

    def test_our_own_faults_are_nobody_s_offence(self) -> None:
        door = a_door()
        door.checker.fault = ZeroDivisionError()
        self.guess(door, 5)

        self.assertEqual(self.owed(door), 0)

    def test_a_login_that_was_put_off_costs_nothing(self) -> None:
        """Too many checks wait, say: the connection is ended first, then the login refused."""
        door = a_door()
        door.checker.later = []
        pair = Pair(door).ask_for_login()
        pair.try_password()

        pair.server.sendDisconnect(11, b"try again later")
        door.checker.later[0].errback(UnauthorizedLogin())
        pair.pump()

        self.assertEqual((pair.over, self.owed(door)), (True, 0))

    def test_after_the_login_nothing_costs(self) -> None:
        door = a_door()
        for _ in range(3):
            pair = Pair(door).log_in()
            pair.server.dataReceived(b"\xff" * 100)
            pair.pump()
            self.assertTrue(pair.over)

        self.assertIsNotNone(knock(door))

    def test_shutting_down_punishes_nobody(self) -> None:
        door = a_door()
        pairs = [Pair(door).pump() for _ in range(10)]

        door.factory.drain()
        for pair in pairs:
            pair.pump()

        self.assertEqual(self.owed(door), 0)

    def test_exempt_addresses_are_never_refused_for_it(self) -> None:
        door = Door([host_key()], Clock(), penalty_exempt=["192.0.2.0/24"])
        self.guess(door, 5)

        self.assertIsNotNone(knock(door))


class Proxies(SynchronousTestCase):
    """Connections from trusted proxies."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict) -> None:
        self.lines.append(formatEvent(event) or "")

    def a_door(self, **limits: float) -> Door:
        return Door([host_key()], Clock(), Limits(**limits), proxy_from=["10.0.0.0/24"])  # type: ignore[arg-type]

    def test_everybody_sees_the_client_that_the_proxy_names(self) -> None:
        pair = Pair(self.a_door(), address=PROXY, preamble=header()).start_sftp()

        (attempt,), avatar = pair.door.checker.attempts, pair.door.realm.avatars[0]
        self.assertEqual((attempt.address, attempt.port), (CLIENT, 40_000))
        self.assertEqual((avatar.peer.address, avatar.peer.session), (CLIENT, pair.door.listener.opened_as[0]))

    def test_a_header_may_come_byte_by_byte(self) -> None:
        door = self.a_door()
        server, wire = knock(door, PROXY), Wire()
        server.makeConnection(wire)

        for byte in header():
            self.assertEqual((wire.value(), door.factory.live()), (b"", []))
            server.dataReceived(bytes([byte]))

        (connection,) = door.factory.live()
        self.assertEqual((connection.peer.address, wire.value()[:8]), (CLIENT, b"SSH-2.0-"))
        self.assertEqual(server.dataReceived, connection.dataReceived)  # with nothing in between from here on
        server.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(door.factory.live(), [])
        self.assertEqual(door.clock.getDelayedCalls(), [])

    def test_a_proxy_must_send_a_header_and_is_not_punished_without(self) -> None:
        door = self.a_door()
        for _ in range(40):
            pair = Pair(door, address=PROXY).pump()
            self.assertTrue(pair.over)

        self.assertEqual(door.listener.opened_as, [])
        said = [line for line in self.lines if "broke the SSH protocol" in line]
        self.assertEqual(said, [f"{PROXY} broke the SSH protocol: no PROXY header"])

    def test_nobody_else_can_name_another_address(self) -> None:
        for preamble in (header(), b"PROXY TCP4 198.51.100.7 10.0.0.1 40000 2222\r\n"):
            pair = Pair(self.a_door(), preamble=preamble).pump()

            self.assertTrue(pair.over)
            self.assertEqual(pair.server.peer.address, "192.0.2.7")

    def test_the_caps_of_one_address_are_the_clients(self) -> None:
        door = self.a_door()
        pairs = [Pair(door, address=PROXY, preamble=header()).pump() for _ in range(12)]
        others = [Pair(door, address=PROXY, preamble=header(f"198.51.100.{n}")).pump() for n in range(20, 35)]
        direct = knock(door, CLIENT)

        self.assertEqual([pair.over for pair in pairs], [False] * 10 + [True] * 2)
        self.assertEqual([pair.over for pair in others], [False] * 15)
        self.assertIsNone(direct)
        reason = "more than 10 connections of one address not logged in"
        self.assertEqual(door.listener.refusals, [reason] * 3)

    def test_the_cap_in_all_counts_those_that_have_no_name_yet(self) -> None:
        door = self.a_door()

        self.assertEqual(sum(knock(door, PROXY) is not None for _ in range(60)), 50)

    def test_penalties_hit_the_client_and_not_the_proxy(self) -> None:
        door = self.a_door()
        guesser = Pair(door, address=PROXY, preamble=header()).ask_for_login()
        for _ in range(4):
            guesser.try_password(WRONG)
        guesser.cut()

        again = Pair(door, address=PROXY, preamble=header()).pump()
        other = Pair(door, address=PROXY, preamble=header("198.51.100.8")).log_in()

        self.assertEqual((again.over, again.to_client.aborted, other.over), (True, True, False))
        self.assertEqual(door.listener.refusals, ["punished for 20 s more"])
        self.assertIsNone(knock(door, CLIENT))

    def test_a_health_check_is_the_proxys_own_and_costs_nothing(self) -> None:
        door = self.a_door()
        for _ in range(100):
            pair = Pair(door, address=PROXY, preamble=header(command=0x20)).pump()
            self.assertEqual(pair.server._connection.peer.address, PROXY)
            pair.cut()
        for _ in range(100):
            Pair(door, address=PROXY).cut()

        self.assertIsNotNone(knock(door, PROXY))
        self.assertEqual((len(door.listener.opened_as), len(door.listener.endings)), (100, 100))

    def test_what_a_proxy_does_by_itself_is_never_held_against_it(self) -> None:
        door = self.a_door()
        pair = Pair(door, address=PROXY, preamble=header(command=0x20)).ask_for_login()
        for _ in range(5):
            pair.try_password(WRONG)

        self.assertEqual(door.factory._tally.sentence(PROXY).owed_until, 0)

    def test_the_header_must_come_soon(self) -> None:
        door = self.a_door()
        server, wire = knock(door, PROXY), Wire()
        server.makeConnection(wire)
        server.dataReceived(header()[:-1])

        door.clock.advance(5)
        server.dataReceived(header()[-1:])

        self.assertTrue(wire.aborted)
        self.assertEqual((door.factory.live(), wire.value()), ([], b""))
        server.connectionLost(Failure(ConnectionLost()))

    def test_draining_cuts_those_that_have_no_name_yet(self) -> None:
        door = self.a_door()
        server, wire = knock(door, PROXY), Wire()
        server.makeConnection(wire)

        self.successResultOf(door.factory.drain())

        self.assertTrue(wire.aborted)
        self.assertIsNone(knock(door, PROXY))
        server.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(door.clock.getDelayedCalls(), [])

    def test_what_is_no_network_is_refused_at_the_start(self) -> None:
        self.assertRaises(ValueError, Door, [host_key()], Clock(), proxy_from=["10.0.0.1/8"])


class Endings(SynchronousTestCase):
    """Revocation and shutdown."""

    def test_sessions_of_one_avatar_are_ended_and_others_stay(self) -> None:
        door = a_door()
        pairs = [Pair(door).ask_for_login() for _ in range(3)]
        for pair, name in zip(pairs, (b"ann", b"bob", b"ann"), strict=True):
            pair.try_password(user=name)

        ended = door.factory.end_where(lambda avatar: avatar.name == b"ann", "the credential was revoked")
        for pair in pairs:
            pair.pump()

        self.assertEqual((ended, [pair.over for pair in pairs]), (2, [True, False, True]))
        self.assertEqual(pairs[0].disconnected(), (11, "the credential was revoked"))

    def test_draining_refuses_newcomers_and_ends_those_who_put_nothing(self) -> None:
        door = a_door()
        idle = Pair(door).start_sftp()
        busy = Pair(door).start_sftp()
        (opened,) = busy.sftp(opening(1))

        drained = door.factory.drain()
        idle.pump()
        busy.pump()

        self.assertIsNone(door.factory.buildProtocol(IPv4Address("TCP", "192.0.2.9", 5)))
        self.assertEqual((idle.disconnected(), busy.over), ((11, "shutting down"), False))
        self.assertNoResult(drained)

        busy.sftp(closing(2, opened.handle))
        busy.advance(1)

        self.assertEqual(busy.door.realm.avatars[1].trees[0].opened[0].fate, "closed")
        self.assertTrue(busy.over)
        self.successResultOf(drained)

    def test_draining_an_empty_door_is_done_at_once(self) -> None:
        door = a_door()

        self.successResultOf(door.factory.drain())
        self.successResultOf(door.factory.drain())
        self.assertEqual(door.clock.getDelayedCalls(), [])

    def test_the_rest_is_hurried(self) -> None:
        door = a_door()
        busy = Pair(door).start_sftp()
        busy.sftp(opening(1))
        drained = door.factory.drain()

        door.factory.end_all()
        busy.pump()

        self.assertEqual(busy.disconnected(), (11, "shutting down"))
        self.assertTrue(door.realm.avatars[0].trees[0].opened[0].fate.startswith("aborted"))
        self.successResultOf(drained)
        self.assertEqual(door.clock.getDelayedCalls(), [])


class Keys(SynchronousTestCase):
    """Host keys."""

    def test_a_door_needs_a_key_of_a_kind_it_offers(self) -> None:
        for keys in ([], [Key(generate_private_key(SECP256R1()))]):
            self.assertRaises(ValueError, Door, keys, Clock())
