"""Who gets in, who is there, and how all are sent home."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from twisted.conch.ssh.keys import Key
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.limits import Limits
from tests.ssh.memory import Door
from tests.ssh.pair import Pair, host_key
from tests.ssh.talk import closing, opening


def a_door(**limits: int) -> Door:
    return Door([host_key()], Clock(), Limits(**limits))  # type: ignore[arg-type]


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

    def test_the_listener_hears_of_each_connection_once(self) -> None:
        pair = Pair().log_in()
        pair.advance(10)
        pair.cut()
        pair.server.connectionLost()

        listener = pair.door.listener
        self.assertEqual((len(listener.opened_as), listener.endings[0]), (1, "the client closed the connection"))
        self.assertEqual(pair.door.factory.live(), [])


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
