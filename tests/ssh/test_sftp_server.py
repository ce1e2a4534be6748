"""The promises of the SFTP server, without SSH around it."""

from __future__ import annotations

from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.fields import Reader, string, u32, u64
from conch_pipe.ssh.interfaces import DropConnection
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.wire import Status, Type
from tests.ssh.talk import INIT, Talk, ask, closing, extended, opening, writing

SETSTAT_NOTHING = bytes(4)


class Greeting(SynchronousTestCase):
    """INIT and VERSION."""

    def test_a_client_of_version_6_gets_version_3(self) -> None:
        """lftp asks for 6."""
        talk = Talk(greet=False)

        talk.server.dataReceived(u32(5) + b"\x01" + u32(6))

        self.assertEqual(talk.pipe.sent[4:9], b"\x02" + u32(3))

    def test_a_request_before_init_ends_the_channel(self) -> None:
        talk = Talk(greet=False)

        answered = talk.send(opening(1))

        self.assertEqual((answered, talk.pipe.status, talk.tree.opened), ([], 11, []))

    def test_a_second_init_ends_the_channel_and_aborts_its_files(self) -> None:
        talk = Talk()
        _, file = talk.open()

        talk.send(INIT)

        self.assertEqual(talk.pipe.status, 11)
        self.assertTrue(file.fate.startswith("aborted"))

    def test_the_extensions_announced_are_those_that_are_answered(self) -> None:
        talk = Talk(greet=False)
        talk.server.dataReceived(INIT)
        reader = Reader(talk.pipe.sent[9:])
        announced = {}
        while reader.left:
            name = reader.string()
            announced[name] = reader.string()

        for number, name in enumerate(announced):
            reply = talk.one(extended(number, name))
            self.assertFalse(reply.kind == Type.STATUS and reply.code == Status.OP_UNSUPPORTED, name)
        self.assertEqual(announced[b"statvfs@openssh.com"], b"2")


class Framing(SynchronousTestCase):
    """Packets out of the stream."""

    def test_a_packet_of_4_gib_ends_the_channel_before_it_is_buffered(self) -> None:
        talk = Talk()

        talk.send(b"\xff\xff\xff\xf0" + bytes(100))

        self.assertEqual(talk.pipe.status, 11)

    def test_a_packet_without_a_request_id_ends_the_channel(self) -> None:
        for size in range(5):
            talk = Talk()
            talk.send(u32(size) + bytes(size))
            self.assertEqual(talk.pipe.status, 11, size)

    def test_the_largest_packet_is_taken_and_one_byte_more_is_not(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        room = 262_144 - 1 - 4 - 4 - len(handle) - 8 - 4

        self.assertEqual(talk.one(writing(1, handle, 0, bytes(room))).code, Status.OK)
        talk.send(writing(2, handle, room, bytes(room + 1)))

        self.assertEqual((len(file.data), talk.pipe.status), (room, 11))

    def test_requests_may_arrive_byte_by_byte(self) -> None:
        talk = Talk()
        handle, file = talk.open()

        for byte in writing(1, handle, 0, b"abc") + closing(2, handle):
            talk.server.dataReceived(bytes((byte,)))

        self.assertEqual([reply.code for reply in talk.new()], [0, 0])
        self.assertEqual((bytes(file.data), file.fate), (b"abc", "closed"))

    def test_a_backend_that_keeps_the_memory_does_not_stop_the_stream(self) -> None:
        """It must not; but a stuck connection would be a poor way to tell it."""
        talk = Talk()
        handle, file = talk.open()
        kept: list[memoryview] = []
        file.writeChunk = lambda offset, data: kept.append(data)  # type: ignore[method-assign]

        for number in range(3):
            self.assertEqual(talk.one(writing(number, handle, number, b"x")).code, 0)

        self.assertEqual([bytes(view) for view in kept], [b"x"] * 3)


class Strictness(SynchronousTestCase):
    """Every request has one reply."""

    def test_a_write_that_claims_more_than_it_carries_is_a_bad_message(self) -> None:
        """Conch wrote 3 bytes of 1,000 and said OK (C4)."""
        talk = Talk()
        handle, file = talk.open()

        reply = talk.one(ask(Type.WRITE, 1, string(handle), u64(0), u32(1000) + b"abc"))

        self.assertEqual((reply.code, bytes(file.data)), (Status.BAD_MESSAGE, b""))

    def test_bytes_after_the_end_of_a_request_are_a_bad_message(self) -> None:
        talk = Talk()

        reply = talk.one(ask(Type.STAT, 1, string(b"/in"), b"x"))

        self.assertEqual((reply.code, talk.tree.calls[1:]), (Status.BAD_MESSAGE, []))

    def test_an_unknown_type_is_unsupported(self) -> None:
        """Conch said nothing to a client's LINK or BLOCK (C5)."""
        talk = Talk()

        for kind in (0, 2, 21, 22, 99, 101, 104, 201, 255):
            self.assertEqual(talk.one(ask(kind, kind)).code, Status.OP_UNSUPPORTED, kind)

    def test_a_request_for_an_unknown_handle_fails(self) -> None:
        """Conch never answered such a WRITE (C5)."""
        talk = Talk()
        wrong = string(b"nope")
        requests = [
            ask(Type.WRITE, 1, wrong, u64(0), string(b"x")),
            ask(Type.CLOSE, 2, wrong),
            ask(Type.FSTAT, 3, wrong),
            ask(Type.FSETSTAT, 4, wrong, SETSTAT_NOTHING),
            ask(Type.READDIR, 5, wrong),
            extended(6, b"fsync@openssh.com", wrong),
        ]

        answered = talk.send(*requests)

        self.assertEqual([(reply.request, reply.code) for reply in answered], [(n, 4) for n in range(1, 7)])

    def test_a_folders_handle_is_no_file_and_a_files_no_folder(self) -> None:
        talk = Talk()
        folder = talk.one(ask(Type.OPENDIR, 1, string(b"/"))).handle
        file, _ = talk.open()

        codes = [talk.one(writing(2, folder, 0, b"x")).code, talk.one(ask(Type.READDIR, 3, string(file))).code]

        self.assertEqual(codes, [4, 4])

    def test_nothing_can_be_read(self) -> None:
        talk = Talk()
        handle, _ = talk.open()

        for value in (handle, b"nope"):
            reply = talk.one(ask(Type.READ, 1, string(value), u64(0), u32(100)))
            self.assertEqual(reply.code, Status.PERMISSION_DENIED)

    def test_more_than_16_extended_attributes_are_a_bad_message(self) -> None:
        """The count on the wire goes to 2**32-1."""
        talk = Talk()
        attribute = string(b"a") + string(b"b")

        few = talk.one(opening(1, attributes=u32(0x80000000) + u32(16) + attribute * 16))
        many = talk.one(opening(2, attributes=u32(0x80000000) + u32(17) + attribute * 17))

        self.assertEqual((few.kind, many.code), (Type.HANDLE, Status.BAD_MESSAGE))

    def test_a_long_path_fails(self) -> None:
        talk = Talk()

        self.assertEqual(talk.one(ask(Type.STAT, 1, string(b"/" * 1025))).code, Status.FAILURE)
        self.assertEqual(talk.one(ask(Type.STAT, 1, string(b"/" * 1024))).kind, Type.ATTRS)

    def test_a_status_is_printable_ascii_with_a_code_of_version_3(self) -> None:
        """Conch never sent a text with an umlaut, nor any reply; and code 11 is version 6's."""
        talk = Talk()
        handle, file = talk.open()
        talk.tree.refuse_writes = SFTPError(11, "zu groß\n\x1b[31m" + "x" * 999)

        reply = talk.one(writing(1, handle, 0, b"x"))

        self.assertEqual((reply.code, reply.text), (4, "zu gro???[31m" + "x" * 242))

    def test_an_unexpected_exception_is_an_internal_error_and_one_log_line(self) -> None:
        talk = Talk()
        talk.tree.makeDirectory = lambda path, attrs: 1 / 0  # type: ignore[method-assign,assignment]

        reply = talk.one(ask(Type.MKDIR, 1, string(b"/x"), SETSTAT_NOTHING))

        self.assertEqual((reply.code, reply.text), (4, "internal error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_the_backend_does_not_know_is_unsupported(self) -> None:
        talk = Talk()

        def unknown(path: bytes) -> None:
            raise NotImplementedError

        talk.tree.readLink = unknown  # type: ignore[method-assign,assignment]

        self.assertEqual(talk.one(ask(Type.READLINK, 1, string(b"/x"))).code, Status.OP_UNSUPPORTED)


class Files(SynchronousTestCase):
    """The life of an open file."""

    def test_a_put_file_is_closed_once(self) -> None:
        talk = Talk()
        handle, file = talk.open()

        answered = talk.send(writing(1, handle, 0, b"ab"), writing(2, handle, 2, b"cd"), closing(3, handle))

        self.assertEqual([reply.code for reply in answered], [0, 0, 0])
        self.assertEqual((bytes(file.data), file.fate), (b"abcd", "closed"))

    def test_a_second_close_fails(self) -> None:
        """Two pipelined CLOSEs closed twice (C2)."""
        talk = Talk()
        handle, file = talk.open()
        talk.tree.closing = Deferred()

        talk.send(closing(1, handle), closing(2, handle))
        talk.tree.closing.callback(None)

        self.assertEqual(file.fate, "closed")

    def test_close_waits_for_the_writes_before_it(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        talk.tree.slow = True

        answered = talk.send(writing(1, handle, 0, b"a"))
        answered += talk.send(writing(2, handle, 1, b"b"), closing(3, handle))
        self.assertEqual((answered, file.fate, bytes(file.data)), ([], "open", b"a"))
        file.pending[0].callback(None)
        self.assertEqual((file.fate, bytes(file.data)), ("open", b"ab"))
        file.pending[1].callback(None)

        self.assertEqual([(r.request, r.code) for r in talk.new()], [(1, 0), (2, 0), (3, 0)])
        self.assertEqual(file.fate, "closed")

    def test_the_first_bad_write_is_the_files_last_word(self) -> None:
        """ssh2-sftp-client's put reports success unless CLOSE fails too."""
        talk = Talk()
        talk.tree.limit = 10
        handle, file = talk.open()

        answered = talk.send(writing(1, handle, 0, bytes(10)))
        answered += talk.send(
            writing(2, handle, 10, b"x"),
            writing(3, handle, 0, b"y"),
            ask(Type.FSETSTAT, 4, string(handle), SETSTAT_NOTHING),
            ask(Type.FSTAT, 5, string(handle)),
            extended(6, b"fsync@openssh.com", string(handle)),
            closing(7, handle),
        )

        self.assertEqual(answered[0].code, 0)
        self.assertEqual({(r.code, r.text) for r in answered[1:]}, {(4, "larger than 10 bytes")})
        self.assertEqual(file.fate, "aborted: larger than 10 bytes")

    def test_a_write_that_fails_later_fails_the_close_that_waits(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        talk.tree.slow = True
        talk.send(writing(1, handle, 0, b"a"), writing(2, handle, 1, b"b"), closing(3, handle))

        file.pending[0].errback(SFTPError(4, "disk full"))

        self.assertEqual([(r.code, r.text) for r in talk.new()], [(4, "disk full")] * 3)
        self.assertEqual(file.fate, "aborted: disk full")

    def test_a_refused_close_is_not_asked_again(self) -> None:
        """Conch kept the handle and closed it a second time at the end."""
        talk = Talk()
        handle, file = talk.open()
        talk.tree.refuse_close = SFTPError(4, "no header")

        first, second = talk.send(closing(1, handle), closing(2, handle))
        talk.server.connectionLost("gone")

        self.assertEqual((first.text, second.text, file.fate), ("no header", "invalid handle", "closed"))

    def test_an_unexpected_exception_in_a_write_poisons_the_file(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        talk.tree.refuse_writes = ZeroDivisionError()

        answered = talk.send(writing(1, handle, 0, b"x"), closing(2, handle))

        self.assertEqual([(r.code, r.text) for r in answered], [(4, "internal error")] * 2)
        self.assertEqual(file.fate, "aborted: internal error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_empty_write_is_fine_and_an_offset_past_2_63_is_not(self) -> None:
        talk = Talk()
        handle, file = talk.open()

        self.assertEqual(talk.one(writing(1, handle, 5, b"")).code, 0)
        self.assertEqual(talk.one(writing(2, handle, 2**63 - 1, b"xx")).text, "the offset is too large")

        self.assertEqual(bytes(file.data), b"")

    def test_33_files_cannot_be_open(self) -> None:
        talk = Talk()
        for _ in range(31):
            talk.open()
        talk.one(ask(Type.OPENDIR, 1, string(b"/in")))

        reply = talk.one(opening(2))

        self.assertEqual((reply.code, reply.text), (4, "more than 32 files open"))

    def test_files_still_opening_count_as_well(self) -> None:
        talk = Talk(Limits(handles=2))
        talk.tree.opening = Deferred()

        answered = talk.send(opening(1), opening(2), opening(3))

        self.assertEqual([reply.request for reply in answered], [3])

    def test_a_refused_open_gives_its_place_back(self) -> None:
        talk = Talk(Limits(handles=1))

        for _ in range(3):
            self.assertEqual(talk.one(opening(1, b"/out/a")).text, "put only into /in")

        self.assertEqual(talk.one(opening(2)).kind, Type.HANDLE)

    def test_handles_are_never_used_again(self) -> None:
        talk = Talk()
        first, _ = talk.open()
        talk.one(closing(1, first))

        second, _ = talk.open()

        self.assertNotEqual(first, second)

    def test_a_file_without_a_write_for_5_minutes_is_given_up(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        talk.clock.advance(200)
        talk.one(writing(1, handle, 0, b"x"))
        talk.clock.advance(299)
        talk.server.expire_files()
        self.assertEqual(file.fate, "open")

        talk.clock.advance(1)
        talk.server.expire_files()

        self.assertEqual(file.fate, "aborted: the file was open too long without a write")
        self.assertEqual(talk.one(closing(2, handle)).code, 4)

    def test_a_file_that_waits_for_storage_is_not_given_up(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        talk.tree.slow = True
        talk.send(writing(1, handle, 0, b"x"))

        talk.clock.advance(1000)
        talk.server.expire_files()

        self.assertEqual(file.fate, "open")

    def test_storage_that_lagged_for_long_gives_the_client_its_time_back(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        file.lagging = True
        talk.send(writing(1, handle, 0, b"x"))
        talk.clock.advance(1000)
        file.lagging = False
        file.catching_up[0].callback(None)

        talk.server.expire_files()

        self.assertEqual(file.fate, "open")


class Cuts(SynchronousTestCase):
    """A lost connection is never a CLOSE."""

    def test_a_lost_connection_aborts_open_files(self) -> None:
        """Conch calls close for them (C1)."""
        talk = Talk()
        handle, file = talk.open()
        talk.send(writing(1, handle, 0, b"x"))

        talk.server.connectionLost("cut")
        talk.server.connectionLost("cut again")

        self.assertEqual((file.fate, talk.tree.lost), ("aborted: cut", ["cut"]))

    def test_eof_with_an_open_file_aborts_it(self) -> None:
        talk = Talk()
        _, file = talk.open()

        talk.server.eofReceived()

        self.assertEqual(file.fate, "aborted: the client ended the channel")
        self.assertEqual(talk.pipe.status, 0)

    def test_eof_lets_what_was_asked_finish_first(self) -> None:
        """OpenSSH's sftp and scp wait for exit-status 0."""
        talk = Talk()
        handle, file = talk.open()
        talk.tree.slow = True
        talk.send(writing(1, handle, 0, b"x"), closing(2, handle))

        talk.server.eofReceived()
        self.assertIsNone(talk.pipe.status)
        file.pending[0].callback(None)

        self.assertEqual((talk.pipe.status, file.fate, [r.code for r in talk.new()]), (0, "closed", [0, 0]))

    def test_a_cut_before_the_writes_are_done_aborts_although_close_came(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        talk.tree.slow = True
        talk.send(writing(1, handle, 0, b"x"), closing(2, handle))

        talk.server.connectionLost("cut")
        file.pending[0].callback(None)

        self.assertEqual((file.fate, talk.new()), ("aborted: cut", []))

    def test_a_cut_while_the_backend_closes_leaves_it_to_the_backend(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        talk.tree.closing = Deferred()
        talk.send(closing(1, handle))

        talk.server.connectionLost("cut")
        talk.tree.closing.callback(None)

        self.assertEqual((file.fate, talk.new()), ("closed", []))

    def test_a_file_that_opens_after_the_cut_is_aborted(self) -> None:
        """Conch left it open for ever."""
        talk = Talk()
        talk.tree.opening = Deferred()
        talk.send(opening(1))

        talk.server.connectionLost("cut")
        talk.tree.opening.callback(None)

        self.assertEqual(talk.tree.opened[0].fate, "aborted: cut")

    def test_one_file_whose_abort_fails_does_not_save_the_others(self) -> None:
        talk = Talk()
        _, first = talk.open()
        _, second = talk.open()
        first.abort = lambda reason: 1 / 0  # type: ignore[method-assign,assignment]

        talk.server.connectionLost("cut")

        self.assertEqual(second.fate, "aborted: cut")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_backend_that_fails_at_the_loss_harms_nobody_else(self) -> None:
        talk = Talk()
        _, file = talk.open()
        talk.tree.channelLost = lambda reason: 1 / 0  # type: ignore[method-assign,assignment]

        talk.server.connectionLost("cut")

        self.assertEqual(file.fate, "aborted: cut")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_requests_waiting_for_a_close_are_dropped_with_the_connection(self) -> None:
        talk = Talk()
        handle, _ = talk.open()
        talk.tree.closing = Deferred()
        talk.send(closing(1, handle), ask(Type.RENAME, 2, string(b"/in/a.csv"), string(b"/in/b.csv")))

        talk.server.connectionLost("cut")
        talk.tree.closing.callback(None)

        self.assertNotIn("renameFile", [call[0] for call in talk.tree.calls])

    def test_an_unknown_outcome_cuts_the_connection_without_an_answer(self) -> None:
        for where in ("close", "write", "open"):
            talk = Talk()
            handle, file = talk.open()
            if where == "close":
                talk.tree.refuse_close = DropConnection()
                answered = talk.send(closing(1, handle))
            elif where == "write":
                talk.tree.refuse_writes = DropConnection()
                answered = talk.send(writing(1, handle, 0, b"x"))
            else:
                talk.tree.opening = Deferred()
                talk.send(opening(1))
                talk.tree.opening.errback(DropConnection())
                answered = talk.new()
            self.assertEqual((answered, talk.pipe.dropped is None), ([], False), where)
            self.assertNotEqual(file.fate, "open")

    def test_after_the_drop_nothing_more_is_looked_at(self) -> None:
        talk = Talk()
        handle, _ = talk.open()
        talk.tree.refuse_close = DropConnection()

        talk.send(closing(1, handle), opening(2))

        self.assertEqual(len(talk.tree.opened), 1)


class Order(SynchronousTestCase):
    """What a client may rely on when it does not wait for replies."""

    def test_a_rename_waits_for_the_close_before_it(self) -> None:
        """WinSCP sends on without waiting for the reply to CLOSE."""
        talk = Talk()
        handle, _ = talk.open()
        talk.tree.closing = Deferred()

        answered = talk.send(closing(1, handle), ask(Type.RENAME, 2, string(b"/in/a.csv"), string(b"/in/b.csv")))
        self.assertEqual(answered, [])
        talk.tree.closing.callback(None)

        self.assertEqual([(r.request, r.code) for r in talk.new()], [(1, 0), (2, 0)])

    def test_requests_about_paths_run_one_after_the_other(self) -> None:
        talk = Talk()
        talk.tree.opening = Deferred()

        talk.send(opening(1), ask(Type.STAT, 2, string(b"/in")))
        self.assertEqual(talk.tree.calls[-1][0], "openFile")
        talk.tree.opening.callback(None)

        self.assertEqual([r.request for r in talk.new()], [1, 2])

    def test_a_write_to_one_file_does_not_wait_for_another(self) -> None:
        talk = Talk()
        slow, _ = talk.open()
        quick, _ = talk.open()
        talk.tree.slow = True
        talk.send(writing(1, slow, 0, b"x"))
        talk.tree.slow = False

        self.assertEqual(talk.one(writing(2, quick, 0, b"x")).code, 0)


class Pressure(SynchronousTestCase):
    """What a client can make us keep."""

    def test_the_window_is_held_from_2_mib_unfinished_down_to_1(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        talk.tree.slow = True
        size = 131_072
        for number in range(17):
            talk.send(writing(number, handle, number * size, bytes(size)))
        self.assertTrue(talk.server.holding)

        for number in range(8):
            file.pending[number].callback(None)
        self.assertTrue(talk.server.holding)
        file.pending[8].callback(None)

        self.assertFalse(talk.server.holding)

    def test_a_lagging_file_holds_the_window_until_it_caught_up(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        file.lagging = True

        talk.send(writing(1, handle, 0, b"x"), writing(2, handle, 1, b"x"))
        held = talk.server.holding, len(file.catching_up)
        file.lagging = False
        file.catching_up[0].callback(None)

        self.assertEqual((held, talk.server.holding), ((True, 1), False))

    def test_storage_that_fails_while_behind_poisons_the_file(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        file.lagging = True
        talk.send(writing(1, handle, 0, b"x"))

        file.catching_up[0].errback(SFTPError(4, "disk full"))

        self.assertFalse(talk.server.holding)
        self.assertEqual(talk.one(closing(2, handle)).text, "disk full")

    def test_not_more_than_256_requests_wait_and_the_rest_follow(self) -> None:
        talk = Talk()
        talk.tree.opening = Deferred()
        stats = b"".join(ask(Type.STAT, number, string(b"/in")) for number in range(300))

        talk.send(opening(1), stats)
        self.assertTrue(talk.server.holding)
        talk.tree.opening.callback(None)

        self.assertEqual(len(talk.new()), 301)
        self.assertFalse(talk.server.holding)

    def test_what_comes_after_256_waiting_requests_is_not_looked_at_yet(self) -> None:
        talk = Talk()
        talk.tree.opening = Deferred()
        stats = b"".join(ask(Type.STAT, number, string(b"/in")) for number in range(255))

        talk.send(opening(1), stats, b"\xff" * 8)
        self.assertIsNone(talk.pipe.status)
        talk.tree.opening.callback(None)

        self.assertEqual(talk.pipe.status, 11)

    def test_eof_behind_256_requests_is_not_lost(self) -> None:
        talk = Talk()
        talk.tree.opening = Deferred()
        stats = b"".join(ask(Type.STAT, number, string(b"/in")) for number in range(300))
        talk.send(opening(1), stats)

        talk.server.eofReceived()
        talk.tree.opening.callback(None)

        self.assertEqual((len(talk.new()), talk.pipe.status), (301, 0))


class Names(SynchronousTestCase):
    """Listings, paths and extensions."""

    def test_a_long_listing_comes_in_pieces(self) -> None:
        talk = Talk()
        talk.tree.rows = 3000
        handle = talk.one(ask(Type.OPENDIR, 1, string(b"/in"))).handle
        count, sizes = 0, []

        while (reply := talk.one(ask(Type.READDIR, 2, string(handle)))).kind == Type.NAME:
            count += Reader(reply.body).u32()
            sizes.append(len(reply.body))

        self.assertEqual((reply.code, count), (Status.EOF, 3000))
        self.assertLess(max(sizes), 33_000)

    def test_replies_go_together_but_not_without_bound(self) -> None:
        """A window full of READDIRs asks for 3 GB."""
        talk = Talk()
        handles = []
        for number in range(20):
            talk.tree.rows = 400
            handles.append(talk.one(ask(Type.OPENDIR, number, string(b"/in"))).handle)
        talk.pipe.sizes.clear()

        talk.send(*[ask(Type.READDIR, 1, string(handle)) for handle in handles])

        self.assertLess(max(talk.pipe.sizes), 65_536 + 33_000)
        self.assertLess(len(talk.pipe.sizes), 10)

    def test_extensions_reply_as_openssh_does(self) -> None:
        talk = Talk()
        handle, _ = talk.open()

        answered = talk.send(
            extended(1, b"limits@openssh.com"),
            extended(2, b"statvfs@openssh.com", string(b"/in")),
            extended(3, b"fstatvfs@openssh.com", string(handle)),
            extended(4, b"fsync@openssh.com", string(handle)),
            extended(5, b"posix-rename@openssh.com", string(b"/in/x"), string(b"/in/y")),
            extended(6, b"lsetstat@openssh.com", string(b"/in/x"), SETSTAT_NOTHING),
            extended(7, b"expand-path@openssh.com", string(b"~/in")),
            extended(8, b"expand-path@openssh.com", string(b"~")),
            extended(9, b"hardlink@openssh.com", string(b"/in/x"), string(b"/in/y")),
        )

        kinds = [Type.EXTENDED_REPLY] * 3 + [Type.STATUS] * 3 + [Type.NAME] * 2 + [Type.STATUS]
        self.assertEqual([reply.kind for reply in answered], kinds)
        self.assertEqual(answered[0].body, b"".join(map(u64, (262_144, 261_120, 261_120, 32))))
        self.assertEqual(len(answered[1].body), 88)
        self.assertEqual([answered[n].code for n in (3, 4, 5, 8)], [0, 2, 0, Status.OP_UNSUPPORTED])
        self.assertEqual(Reader(answered[6].body[4:]).string(), b"/in")
        self.assertEqual(Reader(answered[7].body[4:]).string(), b"/")

    def test_a_file_can_be_made_durable_before_it_is_closed(self) -> None:
        talk = Talk()
        handle, file = talk.open()

        reply = talk.one(extended(1, b"fsync@openssh.com", string(handle)))

        self.assertEqual((reply.code, file.synced), (0, 1))

    def test_attributes_arrive_as_conch_names_them(self) -> None:
        talk = Talk()
        handle, file = talk.open()
        wire = u32(0xF) + u64(5) + u32(1) + u32(2) + u32(0o644) + u32(7) + u32(8)

        talk.one(ask(Type.FSETSTAT, 1, string(handle), wire))

        expected = {"size": 5, "uid": 1, "gid": 2, "permissions": 0o644, "atime": 7, "mtime": 8}
        self.assertEqual(file.attributes, [expected])

    def test_a_refusal_is_told_and_a_missing_name_is_not(self) -> None:
        """STAT of what is about to be put is routine; OpenSSH asks before every put."""
        talk = Talk()

        talk.send(ask(Type.STAT, 1, string(b"/in/new")), opening(2, b"/out/a"))

        self.assertEqual(talk.pipe.told, ["put only into /in"])


class Backends(SynchronousTestCase):
    """What a backend may return."""

    def test_a_failing_deferred_is_a_refusal(self) -> None:
        talk = Talk()
        talk.tree.opening = Deferred()
        talk.send(opening(1))

        talk.tree.opening.errback(Failure(SFTPError(3, "no")))

        (reply,) = talk.new()
        self.assertEqual((reply.code, reply.text), (3, "no"))
