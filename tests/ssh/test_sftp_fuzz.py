"""Whatever a client sends after INIT gets exactly one reply, or the channel ends; a cut at any byte is no CLOSE."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from conch_pipe.ssh.fields import string, u32, u64
from conch_pipe.ssh.sftp.wire import Type
from tests.ssh.talk import INIT, Talk, ask, closing, opening, writing

DOSE = int(os.environ.get("PIPE_DOSE", "1"))

HANDLE = (1).to_bytes(4, "big")
WELL_FORMED = {
    Type.OPEN: [string(b"/in/b"), u32(0x1A), u32(0)],
    Type.CLOSE: [string(HANDLE)],
    Type.READ: [string(HANDLE), u64(0), u32(10)],
    Type.WRITE: [string(HANDLE), u64(0), string(b"abc")],
    Type.LSTAT: [string(b"/in")],
    Type.FSTAT: [string(HANDLE)],
    Type.SETSTAT: [string(b"/in"), u32(0)],
    Type.FSETSTAT: [string(HANDLE), u32(0xF) + u64(1) + u32(1) * 5],
    Type.OPENDIR: [string(b"/in")],
    Type.READDIR: [string(HANDLE)],
    Type.REMOVE: [string(b"/in/b")],
    Type.MKDIR: [string(b"/in/b"), u32(0)],
    Type.RMDIR: [string(b"/in/b")],
    Type.REALPATH: [string(b".")],
    Type.STAT: [string(b"/in")],
    Type.RENAME: [string(b"/in/b"), string(b"/in/c")],
    Type.READLINK: [string(b"/in/b")],
    Type.SYMLINK: [string(b"/in/b"), string(b"/in/c")],
    Type.EXTENDED: [string(b"statvfs@openssh.com"), string(b"/in")],
}


def mutations(body: bytes) -> list[bytes]:
    """The body cut at every byte, lengthened, and with each 32-bit word made extreme."""
    cut = [body[:size] for size in range(len(body))]
    longer = [body + bytes(1), body + b"\xff" * 9]
    words = [
        body[:at] + word + body[at + 4 :] for at in range(len(body) - 3) for word in (b"\xff" * 4, bytes(4), u32(2**31))
    ]
    return [body, *cut, *longer, *words]


class EveryType(SynchronousTestCase):
    """All types, all mutations of their fields."""

    def test_every_request_has_one_reply_whatever_its_fields(self) -> None:
        asked = 0
        for kind in range(256):
            if kind == Type.INIT:
                continue
            body = b"".join(WELL_FORMED.get(kind, [string(HANDLE), u64(0)]))  # type: ignore[call-overload]
            for mutated in mutations(body):
                talk = Talk()
                talk.open()
                (reply,) = talk.send(ask(kind, 77, mutated))
                self.assertEqual((reply.request, talk.pipe.status, talk.pipe.dropped), (77, None, None))
                asked += 1
        self.assertGreater(asked, 8000)

    @settings(max_examples=100 * DOSE, deadline=None)
    @given(st.binary(max_size=400), st.integers(0, 255))
    def test_noise_has_one_reply(self, noise: bytes, kind: int) -> None:
        talk = Talk()

        answered = talk.send(ask(kind, 5, noise))

        if kind == Type.INIT:
            self.assertEqual((answered, talk.pipe.status), ([], 11))
        else:
            self.assertEqual([reply.request for reply in answered], [5])

    @settings(max_examples=100 * DOSE, deadline=None)
    @given(st.binary(max_size=2000), st.data())
    def test_a_stream_of_noise_never_raises_nor_closes_a_file(self, noise: bytes, data: st.DataObject) -> None:
        talk = Talk(greet=data.draw(st.booleans()))
        at = data.draw(st.integers(0, len(noise)))

        talk.server.dataReceived(noise[:at])
        talk.server.dataReceived(noise[at:])
        talk.server.connectionLost("cut")

        self.assertNotIn("closed", [file.fate for file in talk.tree.opened])


CONVERSATION = [
    INIT,
    ask(Type.REALPATH, 1, string(b".")),
    ask(Type.STAT, 2, string(b"/in")),
    opening(3),
    writing(4, HANDLE, 0, b"id,name\n" * 5),
    writing(5, HANDLE, 40, b"1,x\n"),
    ask(Type.FSETSTAT, 6, string(HANDLE), u32(1) + u64(44)),
    closing(7, HANDLE),
    ask(Type.STAT, 8, string(b"/in/a.csv")),
]


class EveryCut(SynchronousTestCase):
    """A put, cut at every byte offset."""

    def test_no_cut_before_the_whole_close_completes_the_file(self) -> None:
        stream = b"".join(CONVERSATION)
        whole = len(b"".join(CONVERSATION[:8]))
        opened = len(b"".join(CONVERSATION[:4]))
        for end in (lambda t: t.server.connectionLost("cut"), lambda t: t.server.eofReceived()):
            for at in range(len(stream) + 1):
                talk = Talk(greet=False)

                talk.server.dataReceived(stream[:at])
                end(talk)

                fates = [file.fate.partition(":")[0] for file in talk.tree.opened]
                expected = [] if at < opened else ["aborted"] if at < whole else ["closed"]
                self.assertEqual((at, fates), (at, expected))
                self.assertEqual(len(talk.tree.lost), 1)

    def test_no_cut_completes_a_file_whose_writes_are_pending(self) -> None:
        stream = b"".join(CONVERSATION)
        opened = len(b"".join(CONVERSATION[:4]))
        for at in range(opened, len(stream) + 1):
            talk = Talk(greet=False)
            talk.tree.slow = True
            talk.server.dataReceived(stream[:at])
            (file,) = talk.tree.opened
            pending = list(file.pending)

            talk.server.connectionLost("cut")
            for write in pending:
                write.callback(None)

            self.assertEqual((at, file.fate), (at, "aborted: cut"))
