"""Channels, windows and clocks of a session."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.fields import Reader, string, u32
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.session import EXTENSIONS
from conch_pipe.ssh.sftp.wire import Type, version
from tests.fuzz.peer import Hostile
from tests.ssh.pair import Pair, numbers, words
from tests.ssh.talk import ask, closing, opening, replies, writing

ENDING = [98, 96, 97]  # exit-status, EOF, CLOSE


def stderr(messages: list[tuple[int, bytes]]) -> str:
    return "".join(Reader(payload[8:]).string().decode() for number, payload in messages if number == 95)


def exit_status(messages: list[tuple[int, bytes]]) -> int:
    (payload,) = (payload for number, payload in messages if number == 98)
    reader = Reader(payload)
    reader.u32()
    assert (reader.string(), reader.flag()) == (b"exit-status", False)
    return reader.u32()


class Opening(SynchronousTestCase):
    """CHANNEL_OPEN."""

    def test_other_types_are_refused_with_a_sentence(self) -> None:
        pair = Pair().log_in()

        for kind in (b"direct-tcpip", b"x11", b"auth-agent@openssh.com", b"direct-streamlocal@openssh.com", b"\xff"):
            ((number, payload),) = pair.open_channel(kind)
            self.assertEqual((number, words(payload[:8])), (92, (7, 1)))
            self.assertIn(b"only SFTP is served here", payload)

    def test_forwarding_is_refused(self) -> None:
        pair = Pair().log_in()

        for name in (b"tcpip-forward", b"cancel-tcpip-forward", b"streamlocal-forward@openssh.com"):
            self.assertEqual(numbers(pair.send(80, string(name), b"\1", string(b""), u32(22))), [82])

    def test_ten_channels_are_granted_and_the_eleventh_is_not(self) -> None:
        pair = Pair().log_in()

        answers = [numbers(pair.open_channel(number=number)) for number in range(11)]

        self.assertEqual(answers, [[91]] * 10 + [[92]])

    def test_a_maximum_packet_below_1024_is_refused(self) -> None:
        """0 was an endless loop, 1 a packet for every byte (C26)."""
        pair = Pair().log_in()

        sizes = (0, 1, 1023, 1024)
        self.assertEqual([numbers(pair.open_channel(packet=size)) for size in sizes], [[92], [92], [92], [91]])

    def test_a_window_past_2_32_ends_the_connection(self) -> None:
        pair = Pair().start_sftp(window=2**32 - 1)

        pair.send(93, u32(0), u32(2**32 - 1))

        self.assertTrue(pair.over)

    def test_messages_for_a_channel_that_has_gone_are_ignored(self) -> None:
        """libssh2 sends a window adjustment after its CLOSE; Conch raised KeyError (C27)."""
        pair = Pair().start_sftp()
        pair.send(97, u32(0))

        for number, fields in (
            (93, u32(5)),
            (94, string(b"x")),
            (95, u32(1) + string(b"x")),
            (96, b""),
            (97, b""),
            (98, string(b"env") + b"\1"),
        ):
            self.assertEqual((number, pair.send(number, u32(0), fields)), (number, []))
        self.assertFalse(pair.over)

    def test_messages_for_a_channel_that_never_was_end_the_connection(self) -> None:
        for number in (93, 94, 95, 96, 97, 98):
            pair = Pair().log_in()
            pair.send(number, u32(5), bytes(12))
            self.assertTrue(pair.over, number)

    def test_unasked_answers_are_ignored(self) -> None:
        """81 raised IndexError in Conch (C27)."""
        pair = Pair().log_in()

        for number in (81, 82, 91, 92, 99, 100):
            self.assertEqual(pair.send(number, bytes(16)), [])
        self.assertFalse(pair.over)

    def test_truncated_messages_end_the_connection(self) -> None:
        for number in (80, 90, 93, 94, 95, 96, 97, 98):
            pair = Pair().start_sftp()
            pair.send(number, b"\0\0")
            self.assertTrue(pair.over, number)


class Requests(SynchronousTestCase):
    """CHANNEL_REQUEST."""

    def test_quiet_requests_are_granted(self) -> None:
        pair = Pair().log_in()
        pair.open_channel()

        self.assertEqual(numbers(pair.request(b"env", string(b"LANG"), string(b"C"))), [99])
        self.assertEqual(numbers(pair.request(b"pty-req", string(b"xterm"), bytes(20))), [99])
        self.assertEqual(numbers(pair.request(b"window-change", bytes(16), want_reply=False)), [])
        self.assertEqual(numbers(pair.request(b"signal", string(b"INT"), want_reply=False)), [])

    def test_other_requests_are_refused(self) -> None:
        pair = Pair().log_in()
        pair.open_channel()

        for kind in (b"x11-req", b"auth-agent-req@openssh.com", b"simple@putty.projects.tartarus.org", b"\xff\0"):
            self.assertEqual(numbers(pair.request(kind, bytes(8))), [100])
        self.assertEqual(numbers(pair.request(b"subsystem", string(b"netconf"))), [100])

    def test_a_command_is_answered_in_words_and_ends(self) -> None:
        """rclone probes with "echo ${ShellId}%ComSpec%" and md5sum; Conch left some open."""
        pair = Pair().log_in()

        for channel in range(6):
            pair.open_channel()
            answer = pair.request(b"exec", string(b"md5sum /in/a.csv"), channel=channel)
            self.assertEqual(numbers(answer), [99, 95, *ENDING])
            self.assertEqual(exit_status(answer), 1)
            self.assertTrue(stderr(answer).startswith("This server takes files over SFTP only"))
            self.assertEqual(pair.send(97, u32(channel)), [])

        self.assertFalse(pair.over)

    def test_old_scp_learns_what_to_do(self) -> None:
        pair = Pair().log_in()
        pair.open_channel()

        answer = pair.request(b"exec", string(b"scp -t /in"))

        self.assertIn("scp without -O", stderr(answer))

    def test_a_shell_on_a_terminal_is_answered_with_a_carriage_return(self) -> None:
        pair = Pair().log_in()
        pair.open_channel()
        pair.request(b"pty-req", string(b"xterm"), bytes(20))

        self.assertTrue(stderr(pair.request(b"shell")).endswith("\r\n"))

    def test_one_subsystem_for_a_channel(self) -> None:
        pair = Pair().start_sftp()

        self.assertEqual(numbers(pair.request(b"subsystem", string(b"sftp"))), [100])
        self.assertEqual(numbers(pair.request(b"exec", string(b"ls"))), [100])
        self.assertEqual(len(pair.door.realm.avatars[0].trees), 1)

    def test_data_before_the_subsystem_ends_the_connection(self) -> None:
        """Conch buffered 32 MB of it."""
        pair = Pair().log_in()
        pair.open_channel()

        pair.send(94, u32(0), string(b"x"))

        self.assertTrue(pair.over)

    def test_a_channel_without_subsystem_is_closed_after_30_seconds(self) -> None:
        pair = Pair().log_in()
        pair.open_channel()
        pair.got()

        pair.advance(31)

        self.assertEqual([n for n in numbers(pair.got()) if n != 80], ENDING)


class Ending(SynchronousTestCase):
    """How a session goes."""

    def test_eof_is_answered_with_status_0_and_close(self) -> None:
        """Else OpenSSH's sftp hangs and scp exits with 1."""
        pair = Pair().start_sftp()

        answer = pair.send(96, u32(0))

        self.assertEqual((numbers(answer), exit_status(answer)), (ENDING, 0))
        self.assertEqual(pair.door.tree.lost, ["the client ended the channel"])

    def test_eof_without_a_subsystem_ends_as_well(self) -> None:
        pair = Pair().log_in()
        pair.open_channel()

        self.assertEqual(numbers(pair.send(96, u32(0))), ENDING)

    def test_a_closed_channel_aborts_its_files(self) -> None:
        pair = Pair().start_sftp()
        pair.sftp(opening(1))
        tree = pair.door.tree

        answer = pair.send(97, u32(0))

        self.assertEqual(numbers(answer), [97])
        self.assertEqual(tree.opened[0].fate, "aborted: the client closed the channel")
        self.assertEqual(tree.lost, ["the client closed the channel"])

    def test_a_lost_connection_aborts_and_logs_out_once(self) -> None:
        pair = Pair().start_sftp()
        pair.sftp(opening(1))
        tree = pair.door.tree

        pair.cut()

        self.assertTrue(tree.opened[0].fate.startswith("aborted"))
        self.assertEqual((len(tree.lost), pair.door.realm.avatars[0].logged_out), (1, 1))
        self.assertEqual(pair.clock.getDelayedCalls(), [])

    def test_data_after_eof_ends_the_connection(self) -> None:
        pair = Pair().log_in()
        pair.open_channel()
        pair.request(b"subsystem", string(b"sftp"))
        pair.sftp(b"\0\0\0\5\1\0\0\0\3" + opening(1))
        pair.door.tree.closing = Deferred()
        pair.sftp(closing(2, (1).to_bytes(4, "big")))
        pair.send(96, u32(0))

        pair.send(94, u32(0), string(b"x"))

        self.assertTrue(pair.over)

    def test_a_broken_stream_ends_the_channel_with_status_11(self) -> None:
        pair = Pair().start_sftp()

        pair.client.sendPacket(94, u32(0) + string(b"\xff" * 8))
        answer = pair.pump().got()

        self.assertEqual(exit_status(answer), 11)
        self.assertFalse(pair.over)

    def test_an_unknown_outcome_cuts_without_a_word(self) -> None:
        from conch_pipe.ssh.interfaces import DropConnection

        pair = Pair().start_sftp()
        pair.sftp(opening(1))
        pair.door.tree.refuse_close = DropConnection()

        answered = pair.sftp(closing(2, (1).to_bytes(4, "big")))

        self.assertEqual((answered, pair.over, pair.disconnected()), ([], True, None))


class Windows(SynchronousTestCase):
    """Flow control, both ways."""

    def test_the_window_is_opened_again_as_data_is_taken(self) -> None:
        pair = Pair().start_sftp()
        (opened,) = pair.sftp(opening(1))

        for number in range(40):
            pair.sftp(writing(number, opened.handle, number * 65536, bytes(65536)))
        adjusted = sum(words(payload)[1] for number, payload in pair.got() if number == 93)

        self.assertGreater(adjusted, 2**20)
        self.assertEqual(pair.door.tree.opened[0].fate, "open")

    def test_the_window_stays_shut_while_storage_is_behind(self) -> None:
        """Conch opens it before the data is handled: 100 MB were taken in memory."""
        pair = Pair().start_sftp()
        (opened,) = pair.sftp(opening(1))
        file = pair.door.tree.opened[0]
        file.lagging = True
        for number in range(24):
            pair.sftp(writing(number, opened.handle, 0, bytes(65536)))
        self.assertNotIn(93, numbers(pair.got()))

        file.lagging = False
        file.catching_up[0].callback(None)
        pair.pump()

        self.assertIn(93, numbers(pair.got()))

    def test_slow_writes_hold_at_most_the_window_and_2_mib(self) -> None:
        pair = Pair().start_sftp()
        (opened,) = pair.sftp(opening(1))
        pair.door.tree.slow = True
        channel = pair.server.service.channels[0]
        sent = 0
        while channel.localWindowLeft > 33_000 and sent < 200:
            pair.sftp(writing(sent, opened.handle, 0, bytes(32_000)))
            sent += 1

        self.assertLess(sent * 32_000, 4 * 2**20 + 65_536)
        while pair.door.tree.opened[0].pending:
            pair.door.tree.opened[0].pending.pop(0).callback(None)
        pair.pump()
        self.assertEqual(channel.localWindowLeft, 2 * 2**20)

    def test_more_data_than_the_window_ends_the_connection(self) -> None:
        pair = Pair(limits=Limits(window=1000)).start_sftp()

        pair.send(94, u32(0), string(bytes(1001)))

        self.assertTrue(pair.over)

    def test_a_data_packet_over_32_kib_ends_the_connection(self) -> None:
        pair = Pair().start_sftp()

        pair.send(94, u32(0), string(bytes(32_769)))

        self.assertTrue(pair.over)

    def test_replies_wait_for_the_clients_window(self) -> None:
        pair = Pair().log_in()
        pair.open_channel(window=10)
        pair.request(b"subsystem", string(b"sftp"))
        pair.client.sendPacket(94, u32(0) + string(b"\0\0\0\5\1\0\0\0\3"))
        first = pair.pump().got()

        rest = pair.send(93, u32(0), u32(10_000))

        data = [Reader(payload[4:]).string() for number, payload in first + rest if number == 94]
        self.assertEqual(len(data[0]), 10)
        self.assertEqual(int.from_bytes(data[0][:4], "big") + 4, len(b"".join(data)))

    def test_the_end_waits_until_the_client_took_its_replies(self) -> None:
        greeting = len(version(EXTENSIONS))
        pair = Pair().start_sftp(window=greeting + 5)
        pair.client.sendPacket(94, u32(0) + string(opening(1)))
        pair.pump()
        pair.got()

        self.assertEqual(pair.send(96, u32(0)), [])
        answer = pair.send(93, u32(0), u32(1000))

        self.assertEqual(numbers(answer), [94, *ENDING])

    def test_replies_are_cut_to_the_clients_packets(self) -> None:
        pair = Pair().start_sftp(packet=1024)
        pair.door.tree.rows = 500
        (opened,) = pair.sftp(ask(Type.OPENDIR, 1, string(b"/in")))

        pair.client.sendPacket(94, u32(0) + string(ask(Type.READDIR, 2, string(opened.handle))))
        sizes = [len(payload) - 8 for number, payload in pair.pump().got() if number == 94]

        self.assertEqual((max(sizes), len(sizes) > 20), (1024, True))

    def test_a_client_that_takes_no_replies_is_cut_at_1_mib(self) -> None:
        """Conch queued 16 MB for 27 s of CPU."""
        pair = Pair().start_sftp(window=400)
        reads = 0
        while not pair.over and reads < 5000:
            pair.send(94, u32(0), string(ask(Type.STAT, reads, string(b"/in")) * 200))
            reads += 1

        self.assertEqual(pair.door.listener.endings, ["the client does not take its replies"])
        self.assertLess(reads, 400)


class Telling(SynchronousTestCase):
    """Refusals on stderr."""

    def test_clients_that_show_no_text_get_it_on_stderr_once(self) -> None:
        for banner in (b"SSH-2.0-OpenSSH_9.2p1 Debian-2", b"SSH-2.0-PuTTY_Release_0.78"):
            pair = Pair(banner=banner).start_sftp()
            pair.got()
            pair.sftp(opening(1, b"/out/a") + opening(2, b"/out/b"))
            self.assertEqual(stderr(pair.got()), "put only into /in\n")

    def test_other_clients_get_nothing_there(self) -> None:
        for banner in (b"SSH-2.0-Go", b"SSH-2.0-libssh2_1.10.0", b"SSH-2.0-WinSCP_release_6.3", b"SSH-2.0-paramiko_5"):
            pair = Pair(banner=banner).start_sftp()
            pair.sftp(opening(1, b"/out/a"))
            self.assertEqual(stderr(pair.got()), "")

    def test_a_sentence_never_takes_more_than_the_clients_window(self) -> None:
        pair = Pair().start_sftp(window=len(version(EXTENSIONS)) + 10)
        pair.got()

        pair.client.sendPacket(94, u32(0) + string(opening(1, b"/out/a")))

        self.assertEqual(numbers(pair.pump().got()), [94])

    def test_sentences_are_bounded(self) -> None:
        pair = Pair().start_sftp()
        for number in range(100):
            pair.sftp(ask(99, number) if number % 2 else ask(100 + number, number))

        self.assertLessEqual(stderr(pair.got()).count("\n"), 20)


class Clocks(SynchronousTestCase):
    """A session's times."""

    def test_a_dead_client_is_cut_after_three_keepalives(self) -> None:
        pair = Pair().start_sftp()
        pair.to_server.reading = False  # what the client sends is lost
        pair.client.dataReceived = lambda data: None

        pair.advance(235)
        self.assertFalse(pair.over)
        pair.advance(10)

        self.assertEqual(pair.door.listener.endings, ["the client does not answer any more"])

    def test_a_client_that_answers_is_kept_until_it_is_idle_for_15_minutes(self) -> None:
        pair = Pair().start_sftp()
        for _ in range(14):
            pair.advance(60)
            pair.send(82)
        self.assertFalse(pair.over)

        pair.advance(50)
        pair.send(82)
        pair.advance(30)

        self.assertEqual(pair.door.listener.endings, ["nothing was asked for too long"])

    def test_a_request_makes_it_live_on(self) -> None:
        pair = Pair().start_sftp()
        for _ in range(30):
            pair.advance(60)
            pair.sftp(ask(Type.STAT, 1, string(b"/in")))

        self.assertFalse(pair.over)

    def test_our_keepalive_asks_for_an_answer_and_theirs_gets_one(self) -> None:
        pair = Pair().start_sftp()
        pair.got()

        pair.advance(61)

        ((number, payload),) = pair.got()
        self.assertEqual((number, payload), (80, string(b"keepalive@openssh.com") + b"\1"))
        self.assertEqual(numbers(pair.send(80, string(b"keepalive@openssh.com"), b"\1")), [82])

    def test_a_close_that_takes_long_is_not_idle(self) -> None:
        pair = Pair().start_sftp()
        pair.sftp(opening(1))
        pair.door.tree.closing = Deferred()
        pair.sftp(closing(2, (1).to_bytes(4, "big")))

        for _ in range(20):
            pair.advance(60)
            pair.send(82)

        self.assertFalse(pair.over)

    def test_a_session_ends_after_12_hours(self) -> None:
        pair = Pair(limits=Limits(session_s=600)).start_sftp()

        for _ in range(11):
            pair.advance(60)
            pair.sftp(ask(Type.STAT, 1, string(b"/in")))

        self.assertEqual(pair.door.listener.endings, ["the session was too long"])

    def test_an_open_file_without_writes_is_aborted(self) -> None:
        pair = Pair().start_sftp()
        pair.sftp(opening(1))

        for _ in range(6):
            pair.advance(60)
            pair.sftp(ask(Type.STAT, 1, string(b"/in")))

        self.assertTrue(pair.door.tree.opened[0].fate.startswith("aborted"))
        self.assertFalse(pair.over)


class Crowds(SynchronousTestCase):
    """Requests of a few bytes whose replies are large."""

    def listings(self, count: int) -> bytes:
        """So many times OPENDIR, READDIR, CLOSE: 50 bytes for 32 KB."""
        handles = (u32(number) for number in range(1, count + 1))
        return b"".join(
            ask(Type.OPENDIR, 1, string(b"/in"))
            + ask(Type.READDIR, 2, string(handle))
            + ask(Type.CLOSE, 3, string(handle))
            for handle in handles
        )

    def test_replies_that_nobody_reads_are_bounded_and_all_come_later(self) -> None:
        """One packet of 32 KB made 20 MB of replies."""
        pair = Hostile()
        pair.start_sftp()
        pair.door.tree.rows = 500
        pair.flood(b"\2" + string(b""), 1)

        pair.flood(b"\x5e" + u32(0) + string(self.listings(300)), 1)
        self.assertLess(pair.unread, 300_000)
        pair.next_turn()
        self.assertLess(pair.unread, 300_000)

        answered = []
        for _ in range(1000):
            pair.client.dataReceived(pair.to_client.take())
            answered += [Reader(payload[4:]).string() for number, payload in pair.got() if number == 94]
            self.assertLess(pair.unread, 300_000)
            if not pair.next_turn() and not pair.unread:
                break
        self.assertEqual([reply.request for reply in replies(b"".join(answered))], [1, 2, 3] * 300)
        self.assertTrue(pair.answers())

    def test_the_window_stays_shut_while_replies_wait(self) -> None:
        pair = Hostile()
        pair.start_sftp()
        pair.door.tree.rows = 500
        taken = 0
        while pair.to_client.reading:
            taken += pair.flood(b"\x5e" + u32(0) + string(self.listings(500)), 1)

        pair.advance(30)

        self.assertLess(taken, 4)
        self.assertLess(pair.unread, 300_000)
        self.assertNotIn(93, numbers(pair.got()))

    def test_the_end_of_the_channel_waits_for_them(self) -> None:
        pair = Pair().start_sftp()
        pair.door.tree.rows = 500
        pair.got()
        pair.client.sendPacket(94, u32(0) + string(self.listings(300)))

        answer = pair.send(96, u32(0))

        stream = b"".join(Reader(payload[4:]).string() for number, payload in answer if number == 94)
        self.assertEqual(len(replies(stream)), 900)
        self.assertEqual(numbers(answer)[-3:], ENDING)
