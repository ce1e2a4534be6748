"""What went wrong in other SSH and SFTP programs, tried on ours: one named test for each lesson that applies.

``ROWS`` is the table: for each CVE the tests that show it cannot happen here, or the reason why there is nothing to
show. Lessons about a hostile server are shown where the client is tested.
"""

from __future__ import annotations

import itertools
import os
import re

import pytest

from conch_pipe.ssh.fields import Reader, string, u32, u64
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.wire import Status, Type
from conch_pipe.ssh.transport.signatures import _EIGHTH, _P, BadSignature, verify
from tests.conftest import CANARY
from tests.fuzz.messages import messages, payload
from tests.fuzz.meters import calls, growth, peak
from tests.fuzz.peer import FILE, STATES, Hostile, StrictClient
from tests.ssh.evidence import ROOT, missing
from tests.ssh.memory import PASSWORD
from tests.ssh.pair import numbers
from tests.ssh.talk import Talk, ask, closing, opening, writing
from tests.ssh.test_transport import packet

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
BEFORE_LOGIN = [
    state for state in STATES if state in {"exchange", "newkeys", "service", "login", "login being checked"}
]


def ready(state: str) -> Hostile:
    return STATES[state]()


def login_request(user: bytes = b"ann", password: bytes = PASSWORD, method: bytes = b"password") -> bytes:
    return b"\x32" + string(user) + string(b"ssh-connection") + string(method) + b"\0" + string(password)


# Version and key exchange.


def test_cve_2022_21716_a_version_line_without_end_is_not_kept():
    """Twisted Conch kept whatever came before a line end."""
    pair = ready("before version")

    held = peak(lambda: [pair.server.dataReceived(b"x" * 4096) for _ in range(256)])

    assert pair.ended
    assert held < 100_000


def test_cve_2002_20001_and_cve_2022_40735_no_exchange_costs_us_more_than_the_client():
    """DHEat: with a finite field one small packet of the client's makes the server raise a number to a long power."""
    pair = ready("kexinit")
    pair.clock.advance(1)  # it waits a little for the client's
    offer = Reader(pair.to_client.value().split(b"\r\n", 1)[1][22:]).string().split(b",")

    assert [name for name in offer if b"diffie-hellman" in name] == []
    assert b"curve25519-sha256" in offer


def test_cve_2025_30211_a_key_exchange_of_giant_name_lists_is_cheap_and_refused():
    """Erlang kept each of millions of names; a list here is bounded by the packet before login."""
    lists = [string(b"a," * 1700)] * 10
    pair = ready("kexinit")
    short, long = (
        calls(
            lambda pair=ready("kexinit"), count=count: pair.push(
                payload(20, [bytes(16), *[string(b"a," * count)] * 10])
            )
        )
        for count in (170, 1700)
    )

    held = peak(lambda: pair.push(payload(20, [bytes(16), *lists, b"\0", u32(0)])))

    assert pair.ended
    assert held < 4 * 2**20
    assert long < 12 * short


def test_cve_2020_9283_and_cve_2021_43565_short_keys_and_empty_packets_are_protocol_errors():
    """golang.org/x/crypto panicked; here one connection ends with one line."""
    for key in (b"", b"\1", bytes(31), bytes(33), b"\xff" * 1215):
        pair = ready("exchange")
        pair.push(payload(30, [string(key)]))
        assert pair.ended

    for state in ("kexinit", "exchange", "login", "running"):
        pair = ready(state)
        pair.push(b"")
        assert pair.ended

    pair = ready("login")
    blob = string(b"ssh-ed25519") + string(b"\1")
    assert numbers(pair.send(50, login_request(method=b"publickey")[1:], string(b"ssh-ed25519"), string(blob))) == [51]


def test_cve_2025_22869_and_cve_2025_26466_nothing_piles_up_while_the_peer_does_not_go_on():
    """x/crypto queued what it had to say until an exchange ended, OpenSSH its answers to pings."""
    pair = ready("their re-key")
    pair.flood(payload(2, [string(b"x" * 64)]), 10_000 * DOSE)
    assert pair.unread < 2**16

    for state, message in (
        ("running", payload(192, [string(b"ping")])),
        ("running", payload(80, [string(b"keepalive@openssh.com"), b"\1"])),
        ("running", payload(90, [string(b"x11"), u32(0), u32(0), u32(0)])),
        ("login", payload(192, [string(b"ping")])),
        ("service", payload(3, [u32(0)])),
    ):
        pair = ready(state)
        taken = pair.flood(message, 10_000)
        assert (state, taken < 10_000, pair.unread < 2**16 + 4096) == (state, True, True)


def test_cve_2025_46712_and_cve_2023_46445_nothing_else_is_taken_during_the_first_exchange():
    """Erlang and asyncssh took EXT_INFO and others before NEWKEYS, so that a man in the middle could put them there."""
    for state in ("kexinit", "exchange", "newkeys"):
        for number in (5, 6, 7, 50, 51, 52, 53, 60, 80, 90, 98):
            pair = ready(state)
            pair.push(payload(number, messages(number)[0]))
            assert pair.ended, (state, number)


def test_cve_2025_8277_ten_thousand_key_exchanges_leave_nothing(dose=DOSE):
    """libssh leaked for each wrong guess. A hundred here, ten thousand with a dose of a hundred."""
    pair = Hostile(limits=Limits(peer_rekey_breaches=10**6))
    pair.start_sftp()

    def rekey() -> None:
        pair.client.sendKexInit()
        pair.pump()

    left = growth(rekey, times=100 * dose, warm=20)

    assert pair.answers()
    assert pair.client.secure == 100 * dose + 21
    assert left < 100_000


@pytest.mark.parametrize("state", ["kexinit", "exchange", "newkeys"])
def test_cve_2023_48795_terrapin_a_strict_exchange_takes_nothing_but_its_own_messages(state):
    """An IGNORE before NEWKEYS moved the sequence numbers, so that a message after it could be cut out unseen."""
    for number in (2, 3, 4, 7, 53, 192):
        pair = STATES[state](client=StrictClient())
        pair.push(payload(number, messages(number)[0]))
        pair.listen()
        assert pair.ended, number


def test_cve_2023_48795_terrapin_sequence_numbers_begin_anew_with_the_keys():
    """A client that starts at 0 after each NEWKEYS is understood, one that goes on counting is not."""
    pair = Hostile(client=StrictClient())
    pair.start_sftp()
    for _ in range(3):
        pair.client.sendKexInit()
        pair.pump()
        assert pair.answers()

    pair = Hostile(client=StrictClient())
    pair.pump()
    pair.client.outgoingPacketSequence += 3
    pair.client.sendPacket(5, string(b"ssh-userauth"))
    pair.pump()
    assert pair.ended


def test_cve_2023_48795_terrapin_a_message_put_in_by_somebody_between_is_noticed():
    """The attack itself: one IGNORE in clear text put in, the first message under the new keys taken out."""
    pair = STATES["newkeys"](client=StrictClient())
    pair.server.dataReceived(packet(2, string(b"")))

    pair.listen()

    assert pair.ended


def test_an_ed25519_host_key_that_anybody_can_sign_for_is_refused():
    """OpenSSL takes signatures of zeros by points of small order: such a pin would trust everybody."""
    heights = [0, 1, _P - 1, _P, _P + 1, _EIGHTH, _P - _EIGHTH]
    points = [(y | sign << 255).to_bytes(32, "little") for y in heights for sign in (0, 1)]
    for point in points:
        for hashed, r in itertools.product((bytes((n,)) * 32 for n in range(8)), points):
            with pytest.raises(BadSignature, match="anybody"):
                verify(
                    string(b"ssh-ed25519") + string(point),
                    string(b"ssh-ed25519") + string(r + bytes(32)),
                    hashed,
                    b"ssh-ed25519",
                )


def test_cve_2008_5161_and_cve_2026_44405_no_cbc_no_sha1_and_no_md5():
    """CBC told plaintext by the time of an error; paramiko still took SHA-1. Asked for alone, none is agreed on."""
    offer = ready("kexinit").to_client.value()
    assert [weak for weak in (b"-cbc", b"sha1", b"md5", b"ssh-rsa", b"ssh-dss", b"arcfour") if weak in offer] == []

    asked = [b"curve25519-sha256", b"ssh-ed25519", *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2, *[b"none"] * 2]
    weaker = {0: b"diffie-hellman-group14-sha1", 1: b"ssh-rsa", 2: b"aes128-cbc", 4: b"hmac-sha1", 6: b"zlib"}
    for at, name in weaker.items():
        pair = ready("kexinit")
        names = [*asked[:at], name, *asked[at + 1 :], b"", b""]
        pair.push(payload(20, [bytes(16), *map(string, names), b"\0", u32(0)]))
        assert pair.ended, name


# Packets.


def test_cve_2026_55200_a_packet_length_is_checked_before_it_is_used():
    """libssh2 believed any length. Also when the MAC is right, and whatever the padding says."""
    for state in ("kexinit", "service", "login", "running", "file open"):
        for length in (0, 1, 4, 5, 11, 2**18 + 1, 2**20, 2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1):
            pair = ready(state)
            held = peak(
                lambda pair=pair, length=length: pair.server.dataReceived(pair.framed(b"\2" + bytes(26), length))
            )
            assert pair.ended, (state, length)
            assert held < 100_000
        for padding in (27, 28, 32, 200, 255):
            pair = ready(state)
            pair.server.dataReceived(pair.framed(b"\2" + string(b"x" * 3), padding=padding))
            assert pair.ended, (state, padding)


def test_cve_2026_55199_an_ext_info_with_2_to_the_32_entries_costs_nothing():
    """libssh2 looped so often; Conch took two seconds for a megabyte."""
    entries = [string(b"n") + string(b"v")] * 2000
    for state in ("service", "login", "running"):
        for count in (2**32 - 1, 2**31, 2000, 0):
            pair = ready(state)
            work = calls(lambda pair=pair, count=count: pair.push(payload(7, [u32(count), *entries])))
            assert work < 2000, (state, count)


# Login.


def test_cve_2018_10933_a_client_cannot_say_that_the_login_succeeded():
    """libssh took USERAUTH_SUCCESS from the client. So 51, 52, 53 and 60 in every state before login."""
    for state in ("kexinit", *BEFORE_LOGIN):
        for number in (51, 52, 53, 60, 61):
            pair = ready(state)
            pair.push(payload(number, messages(number)[0]))
            assert (pair.ended, pair.known) == (True, False), (state, number)


def test_cve_2025_32433_and_cve_2018_7750_no_channel_exists_before_login():
    """Erlang and paramiko handled connection messages of strangers."""
    for state in ("kexinit", *BEFORE_LOGIN):
        for number in range(80, 101):
            for fields in messages(number):
                pair = ready(state)
                pair.push(payload(number, fields))
                pair.listen()
                assert (pair.ended, pair.known) == (True, False), (state, number)
                assert 91 not in numbers(pair.client.got)


def test_cve_2018_1000805_a_client_that_skips_the_login_is_thrown_out():
    """paramiko let one open channels after it had told the server that it was in."""
    pair = ready("login")

    pair.push(payload(52, []), payload(90, messages(90)[0]), payload(98, messages(98)[0]))

    assert (pair.ended, pair.known) == (True, False)


def test_cve_2024_6387_a_login_decided_after_the_deadline_is_none():
    """regreSSHion: the deadline's handler ran into the login. Here the password is still being checked then."""
    pair = ready("login")
    pair.door.checker.later = later = []
    pair.try_password()

    pair.advance(31)
    later[0].callback(None)
    pair.pump()

    assert pair.ended
    assert [avatar.logged_out for avatar in pair.door.realm.avatars] == [1]
    assert 52 not in numbers(pair.client.got)
    assert pair.clock.getDelayedCalls() == []


def test_cve_2024_45337_and_cve_2026_39828_who_logged_in_is_whose_password_was_right():
    """x/crypto let programs take the key that was offered last for the one that was proven.

    Three requests wait at once; only the second is right, and identity and what it may do come from that one alone.
    """
    pair = ready("login")
    pair.door.checker.later = later = []
    pair.push(
        login_request(b"ann", b"wrong"), login_request(b"bob"), login_request(b"cid", b"wrong"), login_request(b"dan")
    )

    while later and not later[-1].called:
        later[-1].callback(None)
    pair.pump()

    assert numbers(pair.got()) == [51, 52]
    assert [avatar.name for avatar in pair.door.realm.avatars] == [b"bob"]


def test_cve_2023_46446_the_identity_of_a_session_does_not_change():
    """asyncssh's client could be put into somebody else's session by a second login."""
    pair = ready("file open")

    pair.push(login_request(b"bob"))
    assert (pair.ended, [avatar.name for avatar in pair.door.realm.avatars]) == (False, [b"ann"])
    pair.push(payload(5, [string(b"ssh-userauth")]), login_request(b"bob"))

    assert (pair.ended, [avatar.name for avatar in pair.door.realm.avatars]) == (True, [b"ann"])


def test_cve_2016_6210_and_cve_2018_15473_a_known_name_is_answered_as_an_unknown_one():
    """OpenSSH told names apart by a malformed request. The checker's part and the times: tests/sftp/test_login.py."""
    answers = {}
    for user in (b"ann", b"nobody", b"x" * 128):
        answers[user] = []
        for request in (
            login_request(user, b"wrong"),
            login_request(user, b"w" * 5000),
            login_request(user, method=b"publickey"),
            login_request(user, method=b"none"),
            login_request(user)[:-3],
            login_request(user) + b"\0",
        ):
            pair = ready("login")
            pair.push(request)
            answers[user].append((pair.got(), pair.written, pair.ended))

    assert answers[b"ann"] == answers[b"nobody"] == answers[b"x" * 128]


def test_cve_2024_5806_and_cve_2026_4670_a_key_is_neither_looked_for_nor_accepted():
    """MOVEit took what the client offered as a key for the path of one."""
    for blob in (b"/etc/passwd", b"\\\\192.0.2.9\\share\\key", string(b"ssh-ed25519") + string(bytes(32)), b""):
        for method in (b"publickey", b"hostbased", b"gssapi-with-mic", b"keyboard-interactive"):
            pair = ready("login")
            answer = pair.send(50, string(b"ann"), string(b"ssh-connection"), string(method), b"\1", string(blob) * 3)
            assert [(number, Reader(body).string()) for number, body in answer] == [(51, b"password")]
            assert pair.door.checker.attempts == []


def test_cve_2025_47812_and_cve_2025_61984_a_name_reaches_the_checker_whole_or_not_at_all():
    """Wing FTP cut names at NUL in one place only. What such names are worth: tests/sftp/test_login.py."""
    for name in (b"ann\0", b"ann\r\nroot", b"\x1b[2J", b"\xff\xfe", b"$(reboot)", b"../ann", b"ann" * 40):
        pair = ready("login")
        pair.try_password(user=name)
        assert [attempt.username for attempt in pair.door.checker.attempts] == [name]

    pair = ready("login")
    pair.try_password(user=b"a" * 129)
    assert pair.door.checker.attempts == []


def test_cve_2025_58181_a_list_of_mechanisms_is_never_walked():
    """x/crypto made room for as many GSSAPI mechanisms as a client said it had."""
    for count in (2**32 - 1, 2**31, 10_000):
        pair = ready("login")
        request = string(b"ann") + string(b"ssh-connection") + string(b"gssapi-with-mic") + u32(count)
        work = calls(lambda pair=pair, request=request: pair.push(b"\x32" + request + string(b"\x06\x01") * 3_000))
        assert numbers(pair.got()) == [51]
        assert work < 2_000


def test_a_password_over_72_bytes_is_not_cut_before_it_is_checked():
    """Okta 2024: bcrypt reads 72 bytes, so that a long name made any password right."""
    pair = ready("login")

    pair.try_password(b"p" * 200 + CANARY.encode())

    assert [len(attempt.password) for attempt in pair.door.checker.attempts] == [200 + len(CANARY)]


# Channels.


def test_cve_2026_39827_refused_channels_leave_nothing():
    """x/crypto kept something of each: a thousand here, a million with a dose of a thousand."""
    pair = ready("running")
    refused = payload(
        90, [string(b"direct-tcpip"), u32(1), u32(1), u32(4096), string(b"h"), u32(1), string(b"h"), u32(1)]
    )

    def once() -> None:
        pair.push(refused)
        pair.got()

    left = growth(once, times=1000 * DOSE, warm=50)

    assert left < 20_000
    assert pair.answers()


def test_channels_that_were_closed_leave_nothing():
    """The same lesson for those that were granted."""
    pair = ready("running")
    count = 0

    def once() -> None:
        nonlocal count
        pair.push(
            payload(90, [string(b"session"), u32(1), u32(2**20), u32(4096)]),
            payload(98, [u32(count), string(b"subsystem"), b"\1", string(b"sftp")]),
            payload(97, [u32(count)]),
        )
        count += 1
        pair.got()
        pair.door.realm.avatars[0].trees.clear()

    left = growth(once, times=300 * DOSE, warm=50)

    assert left < 20_000
    assert pair.answers()


def test_cve_2026_39830_and_cve_2026_56855_and_cve_2026_78662_unasked_answers_are_ignored():
    """x/crypto waited for ever; Conch took an answer from an empty list."""
    for state in ("running", "channel open", "sftp running", "write pending"):
        pair = ready(state)
        for number in (81, 82, 91, 92, 99, 100):
            for fields in messages(number):
                pair.push(*[payload(number, fields)] * 50)
        assert (state, pair.answers()) == (state, True)


def test_cve_2026_39834_windows_end_at_2_to_the_32():
    """x/crypto looped when more than 4 GiB were to be written."""
    pair = Hostile()
    pair.start_sftp(window=2**32 - 1, packet=2**32 - 1)
    assert len(pair.sftp(ask(Type.STAT, 1, string(b"/in")))) == 1

    work = calls(lambda: pair.push(payload(93, [u32(0), u32(2**32 - 1)])))

    assert pair.ended
    assert work < 3000


def test_cve_2026_54886_extended_data_on_an_sftp_channel_is_ignored():
    """Erlang's sftp looped for ever on it."""
    pair = ready("file open")

    for code in (0, 1, 2, 2**31, 2**32 - 1):
        work = calls(lambda code=code: pair.push(payload(95, [u32(0), u32(code), string(b"x" * 1000)])))
        assert work < 2000

    assert pair.answers()
    assert pair.fates == ["open"]
    assert len(pair.sftp(writing(9, FILE, 5, b"2\n"))) == 1


def test_extended_data_gives_its_window_back():
    """What is ignored must not shut the window for what is not."""
    pair = ready("sftp running")

    for _ in range(200):
        pair.push(payload(95, [u32(0), u32(1), string(b"x" * 30_000)]))

    assert pair.answers()


def test_cve_2026_54591_a_name_in_an_scp_command_is_never_looked_at():
    """asyncssh's scp wrote where the other side told it to."""
    for command in (b"scp -t ../../etc", b"scp -f /etc/passwd", b"scp -r -t " + b"../" * 300, b"sh -c 'scp -t /in'"):
        pair = ready("channel open")
        answer = pair.request(b"exec", string(command))
        assert numbers(answer) == [99, 95, 98, 96, 97]
        assert pair.door.realm.avatars[0].trees == []


# SFTP.


def test_cve_2025_26618_an_sftp_packet_of_4_gib_ends_the_channel_at_its_length():
    """Erlang waited for it and kept what came."""
    for size in (2**32 - 1, 2**31, Limits().sftp_packet + 1, 4, 0):
        pair = ready("file open")
        held = peak(lambda pair=pair, size=size: pair.push(payload(94, [u32(0), string(u32(size) + b"\6" * 1000)])))
        assert held < 200_000
        assert pair.fates[0].startswith("aborted")
        assert 98 in numbers(pair.got())


def test_cve_2025_48038_and_cve_2025_48039_and_cve_2025_5318_a_handle_is_ours_or_refused():
    """Erlang took handles of any length; libssh read beyond its table for one that was almost right."""
    for handle in (
        b"",
        b"\0",
        FILE[:3],
        FILE + b"\0",
        u32(0),
        u32(2),
        u32(2**31),
        u32(2**32 - 1),
        b"h" * 256,
        b"h" * 10**5,
    ):
        for request in (closing(9, handle), writing(9, handle, 0, b"x"), ask(Type.FSTAT, 9, string(handle))):
            talk = Talk()
            _, file = talk.open()
            reply = talk.one(request)
            assert reply.code == (Status.BAD_MESSAGE if len(handle) > 256 else Status.FAILURE)
            assert (bytes(file.data), file.fate) == (b"", "open")


def test_cve_2025_48040_and_cve_2025_48041_open_files_and_long_paths_are_bounded():
    """Erlang kept as many handles, and paths as long, as a client asked for."""
    talk = Talk()

    answers = talk.send(*(opening(number) for number in range(200)))
    assert sum(reply.kind == Type.HANDLE for reply in answers) == Limits().handles
    assert {reply.code for reply in answers if reply.kind == Type.STATUS} == {Status.FAILURE}

    held = peak(lambda: [talk.one(ask(Type.REALPATH, 1, string(b"a/" * 100_000))) for _ in range(50)])
    assert held < 3 * 2**20


def test_cve_2026_30914_and_cve_2026_30915_every_request_sees_a_path_as_the_client_wrote_it():
    """SFTPGo's two parts understood a path differently; here only the tree does. Its rules: tests/sftp/test_tree.py."""
    for path in (b"/in/../in/a", b"//in//a", b"/in/./a", b"/in/\0a", b"/in/a/", b"in\\a", b"/in/%2e%2e/a", b"\xff" * 9):
        talk = Talk()
        talk.send(
            opening(1, path),
            *(ask(kind, 2, string(path)) for kind in (Type.STAT, Type.LSTAT, Type.OPENDIR, Type.REMOVE)),
            ask(Type.SETSTAT, 3, string(path), u32(0)),
            ask(Type.RENAME, 4, string(path), string(b"/in/b")),
        )
        seen = [call[1] for call in talk.tree.calls if call[0] != "gotVersion"]
        assert seen == [path] * 7


def test_a_write_at_the_end_of_numbers_is_refused():
    """Sums of offset and length that pass 2 to the 63 wrapped in several servers."""
    for offset in (2**63, 2**63 - 1, 2**64 - 1, 2**64 - 3):
        talk = Talk()
        handle, file = talk.open()
        assert talk.one(ask(Type.WRITE, 5, string(handle), u64(offset), string(b"abc"))).code == Status.FAILURE
        assert file.fate.startswith("aborted")


def test_cve_2026_42304_no_resolver_of_twisted_names_is_used():
    """Its compressed names loop."""
    sources = [path.read_text() for path in (ROOT / "conch_pipe").rglob("*.py")]

    assert not [text for text in sources if re.search(r"twisted\.names|twisted import names", text)]


# The table.

_HERE = "tests/ssh/test_cves.py::"
_CLIENT = "tests/ssh/"
_LOGIN = "tests/sftp/test_login.py::"
_FAILURES = _LOGIN + "test_every_failure_reads_the_same_takes_the_same_work_and_the_same_time"
_TREE = "tests/sftp/test_tree.py::test_a_path_that_leads_nowhere_is_refused_with_the_reason"

# Rows with tests elsewhere; all others are found by their names in this file.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    # A hostile server.
    "CVE-2025-26465": (
        _CLIENT + "test_client.py::test_cve_2025_26465_whatever_is_not_true_refuses_the_host_key",
        _CLIENT + "test_client.py::test_cve_2025_26465_a_policy_that_never_answers_refuses_the_host_key",
    ),
    "CVE-2025-47913": (_CLIENT + "test_client_auth.py::test_cve_2025_47913_an_answer_to_nothing_is_broken_off",),
    "CVE-2026-0968": (
        _CLIENT + "test_sftp_client.py::test_a_malformed_listing_ends_the_session",
        _CLIENT + "test_sftp_client.py::test_every_mutation_of_every_reply_has_one_outcome",
    ),
    "CVE-2026-3731": (_CLIENT + "test_sftp_client.py::test_a_malformed_greeting_ends_the_session",),
    # The same lessons the other way round, for our client.
    "CVE-2018-10933": (
        _CLIENT + "test_client.py::test_cve_2018_10933_nothing_but_the_service_is_accepted_after_the_keys",
    ),
    "CVE-2023-46445": (_CLIENT + "test_client.py::test_cve_2023_46445_nothing_comes_before_the_first_kexinit",),
    "CVE-2025-26466": (
        _CLIENT
        + "test_client.py::test_cve_2025_26466_a_server_that_asks_and_does_not_read_is_not_answered_without_bound",
    ),
    "CVE-2025-30211": (_CLIENT + "test_client.py::test_cve_2025_30211_a_kexinit_with_giant_lists_is_broken_off",),
    "CVE-2025-26618": (_CLIENT + "test_sftp_client.py::test_cve_2025_26618_a_length_of_4_gib_is_not_waited_for",),
    "CVE-2025-5318": (
        _CLIENT + "test_sftp_client.py::test_cve_2025_5318_a_handle_longer_than_256_bytes_ends_the_session",
    ),
    "CVE-2025-61984": (
        _FAILURES,
        _CLIENT + "test_client_auth.py::test_cve_2025_61984_a_user_name_with_control_characters_is_no_credential",
    ),
    "CVE-2026-39830": (
        _CLIENT + "test_client_connection.py::test_cve_2026_39830_answers_to_no_request_change_nothing",
    ),
    "CVE-2026-44405": (_CLIENT + "test_client_auth.py::test_cve_2026_44405_an_rsa_key_is_never_used_with_sha_1",),
    "CVE-2026-54886": (
        _CLIENT + "test_client_connection.py::test_cve_2026_54886_extended_data_of_any_code_is_read_past",
    ),
    "CVE-2026-55199": (
        _CLIENT + "test_client.py::test_cve_2026_55199_a_malformed_ext_info_is_broken_off",
        _CLIENT + "test_client_auth.py::test_cve_2026_55199_ext_info_is_bounded",
    ),
    "CVE-2026-55200": (
        _CLIENT + "test_client.py::test_cve_2026_55200_a_packet_length_out_of_bounds_is_broken_off_at_once",
    ),
    # Other rooms.
    "CVE-2016-6210": (_FAILURES,),
    "CVE-2018-15473": (_FAILURES,),
    "CVE-2025-47812": (_FAILURES,),
    "CVE-2025-61985": (_FAILURES,),
    "CVE-2026-30914": (_TREE,),
    "CVE-2026-30915": (_TREE,),
    "CVE-2026-54591": ("tests/intake/test_spool.py::test_a_part_file_is_private_new_and_named_by_the_id_alone",),
    "GHSA-qr67": ("tests/intake/test_spool.py::test_a_part_file_is_private_new_and_named_by_the_id_alone",),
    "bcrypt-72": (_FAILURES, _HERE + "test_a_password_over_72_bytes_is_not_cut_before_it_is_checked"),
    "CVE-2002-20001": ("tests/live/test_ssh_audit.py::test_a_flood_of_connections_is_throttled",),
}

NOTHING_TO_SHOW: dict[str, str] = {
    "CVE-2026-35414": "no list is split out of a peer's words but that of algorithms, whose names are compared whole",
    "CVE-2025-47914": "no SSH agent is spoken to, so that none can answer too short",
    "CVE-2022-24801": "with the HTTP side",
    "CVE-2024-41671": "with the HTTP side",
    "CVE-2024-41810": "with the HTTP side",
    "CVE-2025-31161": "with the HTTP side: no header tells who somebody is",
    "CVE-2024-50623": "Cleo: no code is run from a folder, and what clients write is stored under names of ours",
    "CVE-2024-3094": "the supply of dependencies is no behaviour that a test here could show",
}

LESSONS = set(
    re.findall(
        r"\S+",
        """
CVE-2023-48795 CVE-2024-6387 CVE-2025-26466 CVE-2025-26465 CVE-2025-61984 CVE-2025-61985 CVE-2026-35414 CVE-2016-6210
CVE-2018-15473 CVE-2002-20001 CVE-2022-40735 CVE-2018-10933 CVE-2018-7750 CVE-2018-1000805 CVE-2025-32433 CVE-2025-46712
CVE-2025-30211 CVE-2025-26618 CVE-2025-48038 CVE-2025-48039 CVE-2025-48040 CVE-2025-48041 CVE-2026-54886 CVE-2023-46445
CVE-2023-46446 CVE-2026-54591 GHSA-qr67 CVE-2026-44405 CVE-2022-21716 CVE-2022-24801 CVE-2024-41671 CVE-2024-41810
CVE-2026-42304 CVE-2024-45337 CVE-2025-22869 CVE-2025-47913 CVE-2025-47914 CVE-2025-58181 CVE-2026-39827 CVE-2026-39828
CVE-2026-39830 CVE-2026-56855 CVE-2026-78662 CVE-2026-39834 CVE-2020-9283 CVE-2021-43565 CVE-2026-55199 CVE-2026-55200
CVE-2026-0968 CVE-2026-3731 CVE-2025-5318 CVE-2025-8277 CVE-2026-30914 CVE-2026-30915 CVE-2025-47812 CVE-2024-5806
CVE-2026-4670 CVE-2025-31161 CVE-2024-50623 CVE-2008-5161 CVE-2024-3094 bcrypt-72
""",
    )
)


def test_every_lesson_has_a_test_or_a_reason():
    """Nothing is lost between the list of lessons and the tests, and every test that is named is there."""
    here = set(re.findall(r"CVE-\d+-\d+", " ".join(name.upper().replace("_", "-") for name in globals())))
    shown = here | set(ELSEWHERE) | set(NOTHING_TO_SHOW)

    assert sorted(LESSONS - shown) == []
    assert sorted(shown - LESSONS) == []
    assert missing(test for tests in ELSEWHERE.values() for test in tests) == []
