"""Login: bounded, in order, once, and without a trace of the password."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.fields import Reader, string
from conch_pipe.ssh.interfaces import IPasswordAttempt
from tests.conftest import CANARY
from tests.ssh.memory import PASSWORD, Door
from tests.ssh.pair import Pair, host_key, numbers

WRONG = b"wrong " + CANARY.encode()


def password_request(password: bytes, user: bytes = b"ann", service: bytes = b"ssh-connection") -> bytes:
    return string(user) + string(service) + string(b"password") + b"\0" + string(password)


class Login(SynchronousTestCase):
    """What a client may try."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict) -> None:
        self.lines.append(formatEvent(event) + repr(event))

    def test_the_right_password_logs_in_and_the_checker_sees_the_peer(self) -> None:
        pair = Pair().log_in()

        (attempt,) = pair.door.checker.attempts
        self.assertTrue(IPasswordAttempt.providedBy(attempt))
        self.assertEqual((attempt.username, attempt.password), (b"ann", PASSWORD))
        self.assertEqual((attempt.address, attempt.port), ("192.0.2.7", 50000))
        self.assertEqual(attempt.banner, "SSH-2.0-OpenSSH_9.2p1 Debian-2")
        self.assertRegex(attempt.session, "^[0-9a-f]{16}$")
        self.assertEqual(pair.door.realm.avatars[0].peer, pair.server.peer)

    def test_only_the_password_is_offered(self) -> None:
        pair = Pair().ask_for_login()

        for method in (b"none", b"publickey", b"keyboard-interactive", b"hostbased", b"x" * 300):
            ((number, payload),) = pair.send(50, string(b"ann"), string(b"ssh-connection"), string(method), b"\0")
            self.assertEqual((number, Reader(payload).string()), (51, b"password"))
        self.assertEqual(pair.door.checker.attempts, [])

    def test_the_sixth_failure_ends_the_connection(self) -> None:
        pair = Pair().ask_for_login()

        answers = [pair.try_password(WRONG) for _ in range(6)]

        self.assertEqual(answers, [[51]] * 5 + [[1]])
        self.assertEqual((len(pair.door.checker.attempts), pair.over), (6, True))
        self.assertEqual(pair.door.listener.refusals, ["too many failed logins"])

    def test_asking_for_nothing_does_not_reset_the_failures(self) -> None:
        """A trailing "none" hid 500 guesses from Conch's counter (C9)."""
        pair = Pair().ask_for_login()

        for _ in range(6):
            pair.try_password(WRONG)
            pair.send(50, string(b"ann"), string(b"ssh-connection"), string(b"none"))

        self.assertEqual((len(pair.door.checker.attempts), pair.over), (6, True))

    def test_the_21st_request_of_any_kind_ends_the_connection(self) -> None:
        pair = Pair().ask_for_login()

        for _ in range(21):
            pair.send(50, string(b"ann"), string(b"ssh-connection"), string(b"none"))

        self.assertTrue(pair.over)
        self.assertEqual(pair.door.listener.refusals, ["too many login requests"])

    def test_500_passwords_in_one_flight_are_checked_one_at_a_time_and_cut(self) -> None:
        """Conch checked all 500 (C9)."""
        pair = Pair().ask_for_login()
        pair.door.checker.later = []

        for _ in range(500):
            pair.client.sendPacket(50, password_request(WRONG))
        pair.pump()

        self.assertEqual((len(pair.door.checker.attempts), pair.over), (1, True))

    def test_a_fifth_request_that_waits_ends_the_connection(self) -> None:
        pair = Pair().ask_for_login()
        pair.door.checker.later = []

        for _ in range(6):
            pair.client.sendPacket(50, password_request(WRONG))
        pair.pump()

        self.assertEqual((pair.over, pair.door.listener.refusals), (True, ["too many login requests"]))

    def test_four_requests_may_wait_for_one(self) -> None:
        pair = Pair().ask_for_login()
        pair.door.checker.later = later = []
        for _ in range(5):
            pair.client.sendPacket(50, password_request(WRONG))
        pair.pump()
        self.assertEqual(len(later), 1)

        for number in range(5):
            later[number].callback(None)
        pair.pump()

        self.assertEqual((numbers(pair.got()), len(later)), ([51] * 5, 5))

    def test_a_second_service_request_ends_the_connection(self) -> None:
        """It reset Conch's counter: 200 guesses (C10)."""
        pair = Pair().ask_for_login()

        pair.send(5, string(b"ssh-userauth"))

        self.assertTrue(pair.over)

    def test_a_service_request_after_login_ends_the_connection(self) -> None:
        """Conch let a second user take over and never logged the first out (C11)."""
        pair = Pair().log_in()

        pair.send(5, string(b"ssh-userauth"))

        self.assertEqual((pair.over, pair.door.realm.avatars[0].logged_out), (True, 1))

    def test_ssh_connection_cannot_be_had_without_login(self) -> None:
        pair = Pair().pump()

        pair.client.sendPacket(5, string(b"ssh-connection"))
        pair.pump()

        self.assertEqual(pair.disconnected(), (7, "log in first"))

    def test_a_wrong_next_service_is_refused_before_the_password_is_checked(self) -> None:
        """Conch set the avatar and told the client it had failed (C12)."""
        pair = Pair().ask_for_login()

        answer = pair.send(50, password_request(PASSWORD, service=b"ssh-shell"))

        self.assertEqual((numbers(answer), pair.door.checker.attempts), ([51], []))

    def test_long_names_and_passwords_never_reach_the_checker(self) -> None:
        pair = Pair().ask_for_login()

        answers = [
            pair.try_password(user=b"a" * 129),
            pair.try_password(user=b""),
            pair.try_password(b"p" * 257),
            pair.try_password(b"p" * 256, user=b"a" * 128),
        ]

        self.assertEqual((answers, len(pair.door.checker.attempts)), ([[51]] * 4, 1))

    def test_a_password_change_is_refused(self) -> None:
        pair = Pair().ask_for_login()
        fields = string(b"ann") + string(b"ssh-connection") + string(b"password") + b"\1" + string(PASSWORD) * 2

        self.assertEqual(numbers(pair.send(50, fields)), [51])
        self.assertEqual(pair.door.checker.attempts, [])

    def test_a_malformed_request_ends_the_connection(self) -> None:
        for size in range(1, len(password_request(WRONG)), 5):
            pair = Pair().ask_for_login()
            pair.client.sendPacket(50, password_request(WRONG)[:size])
            pair.pump()
            self.assertEqual(pair.disconnected(), (2, "protocol error"))

    def test_a_fault_of_the_checker_is_a_failure_logged_without_the_credentials(self) -> None:
        pair = Pair().ask_for_login()
        pair.door.checker.fault = ValueError(b"cannot hash " + WRONG)

        self.assertEqual(pair.try_password(WRONG), [51])

        self.assertTrue([line for line in self.lines if "ValueError at" in line])
        self.assertFalse([line for line in self.lines if CANARY in line])

    def test_a_login_that_comes_after_the_client_left_is_logged_out(self) -> None:
        pair = Pair().ask_for_login()
        pair.door.checker.later = later = []
        pair.try_password()

        pair.cut()
        later[0].callback(None)

        self.assertEqual([avatar.logged_out for avatar in pair.door.realm.avatars], [1])

    def test_two_good_passwords_in_one_flight_make_one_avatar(self) -> None:
        pair = Pair().ask_for_login()
        pair.door.checker.later = later = []
        for user in (b"ann", b"bob"):
            pair.client.sendPacket(50, password_request(PASSWORD, user=user))
        pair.pump()

        later[0].callback(None)
        pair.pump()

        self.assertEqual(([avatar.name for avatar in pair.door.realm.avatars], len(later)), ([b"ann"], 1))
        pair.cut()
        self.assertEqual(pair.door.realm.avatars[0].logged_out, 1)

    def test_a_login_request_after_login_is_ignored_and_not_logged(self) -> None:
        """Conch logs the whole packet with the password at INFO (C13)."""
        pair = Pair().log_in()

        answer = pair.send(50, password_request(WRONG, user=b"bob"))

        self.assertEqual((answer, pair.over, len(pair.door.realm.avatars)), ([], False, 1))
        self.assertFalse([line for line in self.lines if CANARY in line])

    def test_no_line_of_a_whole_login_carries_the_password(self) -> None:
        pair = Pair().ask_for_login()
        pair.try_password(WRONG)
        pair.try_password()
        pair.cut()

        self.assertFalse([line for line in self.lines if CANARY in line])

    def test_the_deadline_runs_from_accept_whatever_the_client_does(self) -> None:
        for step, seconds, ending in (
            (lambda p: p, 10, "it did not say its version in time"),
            (Pair.pump, 30, "it did not log in in time"),
            (Pair.ask_for_login, 30, "it did not log in in time"),
        ):
            pair = step(Pair())
            pair.clock.advance(seconds - 0.1)
            self.assertFalse(pair.to_client.aborted)
            pair.clock.advance(0.2)
            self.assertTrue(pair.to_client.aborted)
            pair.pump()
            self.assertEqual(pair.door.listener.endings, [ending])

    def test_the_deadline_ends_with_the_login(self) -> None:
        pair = Pair().log_in()

        pair.advance(60)

        self.assertFalse(pair.over)

    def test_the_deadline_passes_while_the_password_is_checked(self) -> None:
        pair = Pair().ask_for_login()
        pair.door.checker.later = later = []
        pair.try_password()
        pair.advance(31)

        later[0].callback(None)

        self.assertEqual((pair.over, [a.logged_out for a in pair.door.realm.avatars]), (True, [1]))

    def test_a_door_for_one_attempt_keeps_no_timer(self) -> None:
        door = Door([host_key()], Clock())
        Pair(door).log_in().cut()

        self.assertEqual(door.clock.getDelayedCalls(), [])
