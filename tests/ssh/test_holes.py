"""The holes of stock Conch 26.10 that were found before this package was written, and what shows each one closed.

``HOLES`` is the table: the number under which comments in the code name a hole (C1 to C30; K for what concerns keys,
times and logins; P for what a stranger can do before login), what Conch does, and the tests. A test checks the table.
"""

from __future__ import annotations

import re

import pytest

from conch_pipe.ssh.fields import string, u32
from conch_pipe.ssh.limits import Limits
from conch_pipe.ssh.sftp.wire import Type
from tests.fuzz.messages import payload
from tests.fuzz.meters import Lines, peak
from tests.fuzz.peer import FILE, STATES, Hostile
from tests.ssh.evidence import ROOT, missing
from tests.ssh.memory import PASSWORD, Door
from tests.ssh.pair import host_key
from tests.ssh.talk import ask, opening, writing

_CHANNELS = "tests/ssh/test_channels.py::"
_CUTS = "tests/wire/test_every_cut.py::"
_CVES = "tests/ssh/test_cves.py::"
_FACTORY = "tests/ssh/test_factory.py::"
_FUZZ = "tests/fuzz/test_messages.py::"
_HERE = "tests/ssh/test_holes.py::"
_LOGIN = "tests/ssh/test_login.py::Login::"
_SERVER = "tests/ssh/test_sftp_server.py::"
_STREAM = "tests/ssh/test_sftp_fuzz.py::"
_TRANSPORT = "tests/ssh/test_transport.py::"

HOLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "C1": (
        "a lost connection closes every open file as if the client had",
        (
            _SERVER + "Cuts::test_a_lost_connection_aborts_open_files",
            _STREAM + "EveryCut::test_no_cut_before_the_whole_close_completes_the_file",
            _CUTS + "test_a_put_cut_after_any_byte_is_kept_only_if_its_close_came_whole",
            _CUTS + "test_an_ssh_connection_cut_anywhere_keeps_only_what_was_closed",
        ),
    ),
    "C2": (
        "two CLOSEs in one flight close a file twice",
        (_SERVER + "Files::test_a_second_close_fails", _SERVER + "Files::test_a_put_file_is_closed_once"),
    ),
    "C3": (
        "CLOSE does not wait for the WRITEs before it and succeeds though one failed",
        (
            _SERVER + "Files::test_close_waits_for_the_writes_before_it",
            _SERVER + "Files::test_the_first_bad_write_is_the_files_last_word",
            _SERVER + "Files::test_a_write_that_fails_later_fails_the_close_that_waits",
        ),
    ),
    "C4": (
        "a WRITE that claims more than it carries is written and answered OK",
        (_SERVER + "Strictness::test_a_write_that_claims_more_than_it_carries_is_a_bad_message",),
    ),
    "C5": (
        "unknown handles and malformed requests get no reply",
        (
            _SERVER + "Strictness::test_a_request_for_an_unknown_handle_fails",
            _STREAM + "EveryType::test_every_request_has_one_reply_whatever_its_fields",
        ),
    ),
    "C6": (
        "SFTP packets of any length are buffered",
        (
            _SERVER + "Framing::test_a_packet_of_4_gib_ends_the_channel_before_it_is_buffered",
            _CVES + "test_cve_2025_26618_an_sftp_packet_of_4_gib_ends_the_channel_at_its_length",
        ),
    ),
    "C7": (
        "any number of open files and of channels",
        (
            _SERVER + "Files::test_33_files_cannot_be_open",
            _SERVER + "Files::test_files_still_opening_count_as_well",
            _CHANNELS + "Opening::test_ten_channels_are_granted_and_the_eleventh_is_not",
        ),
    ),
    "C8": (
        "ten hours for the login, and no timer at all before it",
        (
            _LOGIN + "test_the_deadline_runs_from_accept_whatever_the_client_does",
            _LOGIN + "test_the_deadline_passes_while_the_password_is_checked",
        ),
    ),
    "C9": (
        "passwords in one flight are all checked before any limit; a trailing none resets the count",
        (
            _LOGIN + "test_500_passwords_in_one_flight_are_checked_one_at_a_time_and_cut",
            _LOGIN + "test_asking_for_nothing_does_not_reset_the_failures",
            _LOGIN + "test_the_21st_request_of_any_kind_ends_the_connection",
        ),
    ),
    "C10": (
        "asking for ssh-userauth again resets count and timer",
        (_LOGIN + "test_a_second_service_request_ends_the_connection",),
    ),
    "C11": (
        "a second login replaces the first, whose logout is never called",
        (
            _LOGIN + "test_a_service_request_after_login_ends_the_connection",
            _CVES + "test_cve_2023_46446_the_identity_of_a_session_does_not_change",
        ),
    ),
    "C12": (
        "a wrong next service is told as a failure and logs in all the same",
        (_LOGIN + "test_a_wrong_next_service_is_refused_before_the_password_is_checked",),
    ),
    "C13": (
        "a login request after login is logged with its password",
        (
            _LOGIN + "test_a_login_request_after_login_is_ignored_and_not_logged",
            _FUZZ + "test_a_message_is_answered_ignored_or_the_end",
        ),
    ),
    "C14": ("zlib before login, inflated without bound", (_TRANSPORT + "BeforeKeys::test_zlib_is_not_offered",)),
    "C15": (
        "packets of 1 MiB before login, and the buffer is copied at each read",
        (
            _TRANSPORT + "BeforeKeys::test_a_packet_over_35000_bytes_ends_the_connection_at_its_length",
            _TRANSPORT + "BeforeKeys::test_128_kib_of_small_packets_before_login_end_the_connection",
            _HERE + "test_a_drip_of_bytes_copies_nothing_but_itself",
        ),
    ),
    "C16": (
        "EXT_INFO at any time, in quadratic time",
        (
            _TRANSPORT + "AfterLogin::test_ext_info_is_ignored",
            _CVES + "test_cve_2026_55199_an_ext_info_with_2_to_the_32_entries_costs_nothing",
            _CVES + "test_cve_2025_46712_and_cve_2023_46445_nothing_else_is_taken_during_the_first_exchange",
        ),
    ),
    "C17": (
        "small messages fill a core and their answers the memory",
        (
            _TRANSPORT + "BeforeKeys::test_128_kib_of_small_packets_before_login_end_the_connection",
            _TRANSPORT + "AfterLogin::test_a_peer_that_does_not_read_is_not_read_from",
            _CVES + "test_cve_2025_22869_and_cve_2025_26466_nothing_piles_up_while_the_peer_does_not_go_on",
        ),
    ),
    "C18": (
        "replies queue without bound behind a key exchange that never ends",
        (
            _TRANSPORT + "AfterLogin::test_a_rekey_that_does_not_end_ends_the_connection",
            _TRANSPORT + "AfterLogin::test_replies_behind_a_key_exchange_are_bounded",
            _TRANSPORT
            + "AfterLogin::test_messages_after_the_clients_kexinit_that_are_not_of_the_exchange_end_the_connection",
        ),
    ),
    "C19": (
        "no key exchange of our own; packet 2**32 raises",
        (
            _TRANSPORT + "AfterLogin::test_sequence_numbers_wrap",
            _HERE + "test_new_keys_are_asked_for_after_so_many_bytes_and_after_so_long",
            _HERE + "test_a_client_that_does_not_answer_our_key_exchange_is_cut",
            "tests/live/test_rekeying.py::test_every_client_gives_new_keys_when_we_ask",
        ),
    ),
    "C20": (
        "malformed packets raise out of dataReceived",
        (
            _TRANSPORT + "BeforeKeys::test_a_malformed_packet_ends_the_connection_with_one_line",
            _TRANSPORT + "BeforeKeys::test_noise_never_raises",
            _FUZZ + "test_a_message_is_answered_ignored_or_the_end",
        ),
    ),
    "C21": (
        "messages after our DISCONNECT are still handled",
        (
            _TRANSPORT + "BeforeKeys::test_nothing_is_looked_at_after_our_disconnect",
            _HERE + "test_nothing_that_comes_in_one_piece_with_a_goodbye_is_looked_at",
            _FUZZ + "test_a_message_is_answered_ignored_or_the_end",
        ),
    ),
    "C22": (
        "a peer that does not read keeps the socket after our goodbye",
        (_TRANSPORT + "AfterLogin::test_a_client_that_does_not_take_the_disconnect_is_cut_after_5_seconds",),
    ),
    "C23": (
        "no strict key exchange: with chacha20-poly1305 or EtM that would be Terrapin",
        (
            _CVES + "test_cve_2023_48795_terrapin_a_strict_exchange_takes_nothing_but_its_own_messages",
            _CVES + "test_cve_2023_48795_terrapin_sequence_numbers_begin_anew_with_the_keys",
            _CVES + "test_cve_2023_48795_terrapin_a_message_put_in_by_somebody_between_is_noticed",
        ),
    ),
    "C24": (
        "CBC, 3DES, MD5, SHA-1 and DSS by default",
        (
            _TRANSPORT + "BeforeKeys::test_weak_algorithms_are_not_offered",
            _CVES + "test_cve_2008_5161_and_cve_2026_44405_no_cbc_no_sha1_and_no_md5",
            "tests/live/test_ssh_audit.py::test_strict_has_neither_failures_nor_warnings",
        ),
    ),
    "C25": (
        "a service can be asked for in clear text",
        (_TRANSPORT + "BeforeKeys::test_only_messages_of_the_key_exchange_are_taken_before_keys",),
    ),
    "C26": (
        "a maximum packet of 0 loops, a window passes 2**32",
        (
            _CHANNELS + "Opening::test_a_maximum_packet_below_1024_is_refused",
            _CHANNELS + "Opening::test_a_window_past_2_32_ends_the_connection",
        ),
    ),
    "C27": (
        "messages for channels that are not there, and answers nobody asked for, raise",
        (
            _CHANNELS + "Opening::test_messages_for_a_channel_that_has_gone_are_ignored",
            _CHANNELS + "Opening::test_messages_for_a_channel_that_never_was_end_the_connection",
            _CHANNELS + "Opening::test_unasked_answers_are_ignored",
            _CHANNELS + "Opening::test_truncated_messages_end_the_connection",
        ),
    ),
    "C28": (
        "any name and a password of 200 kB reach the checker",
        (
            _LOGIN + "test_long_names_and_passwords_never_reach_the_checker",
            "tests/sftp/test_login.py::test_every_failure_reads_the_same_takes_the_same_work_and_the_same_time",
        ),
    ),
    "C29": (
        "a line of the log for each SFTP packet, some with the bytes of files",
        (
            _HERE + "test_a_put_of_a_thousand_writes_logs_nothing",
            _FUZZ + "test_a_message_is_answered_ignored_or_the_end",
        ),
    ),
    "K1": (
        "a key exchange of the peer's in the middle of a transfer must harm nothing",
        (_TRANSPORT + "AfterLogin::test_a_rekey_by_the_client_keeps_the_session",),
    ),
    "K2": (
        "the client asks for the login again after each key exchange, and drops its session when the server says yes",
        ("tests/ssh/test_client.py::test_a_rekey_asks_nobody_again_and_the_session_goes_on",),
    ),
    "K3": (
        "no keepalive: half-open connections live for ever",
        (
            _CHANNELS + "Clocks::test_our_keepalive_asks_for_an_answer_and_theirs_gets_one",
            _CHANNELS + "Clocks::test_a_dead_client_is_cut_after_three_keepalives",
        ),
    ),
    "K4": (
        "no idle timeout",
        (
            _CHANNELS + "Clocks::test_a_client_that_answers_is_kept_until_it_is_idle_for_15_minutes",
            _CHANNELS + "Clocks::test_an_open_file_without_writes_is_aborted",
            _CHANNELS + "Clocks::test_a_session_ends_after_12_hours",
        ),
    ),
    "K5": (
        "any number of connections, of one address and not logged in",
        (
            _FACTORY + "Admission::test_ten_of_an_address_may_be_not_logged_in",
            _FACTORY + "Admission::test_twenty_of_an_address_may_be_logged_in",
            _FACTORY + "Admission::test_fifty_may_be_not_logged_in",
            _FACTORY + "Admission::test_the_total_is_bounded",
        ),
    ),
    "K6": (
        "two good passwords in one flight, or one decided after the client left, leave an avatar that nobody logs out",
        (
            _LOGIN + "test_two_good_passwords_in_one_flight_make_one_avatar",
            _LOGIN + "test_a_login_that_comes_after_the_client_left_is_logged_out",
        ),
    ),
    "K7": (
        "the name in the log is that of the last request, not of the one that succeeded",
        (_CVES + "test_cve_2024_45337_and_cve_2026_39828_who_logged_in_is_whose_password_was_right",),
    ),
    "K8": (
        "the checker does not learn the peer, and a change of password counts as a login",
        (
            _LOGIN + "test_the_right_password_logs_in_and_the_checker_sees_the_peer",
            _LOGIN + "test_a_password_change_is_refused",
        ),
    ),
    "K9": (
        "the connection protocol before login (not in Conch; in others)",
        (
            _LOGIN + "test_ssh_connection_cannot_be_had_without_login",
            _CVES + "test_cve_2025_32433_and_cve_2018_7750_no_channel_exists_before_login",
        ),
    ),
    "P1": ("a bomb of zlib: 194 KB become 324 MB", (_TRANSPORT + "BeforeKeys::test_zlib_is_not_offered",)),
    "P2": (
        "500 requests of one key exchange are all answered with a signature",
        (_TRANSPORT + "BeforeKeys::test_500_key_exchange_requests_cost_one_signature",),
    ),
    "P3": (
        "key exchanges without end before login",
        (_TRANSPORT + "BeforeKeys::test_a_rekey_before_login_ends_the_connection",),
    ),
    "P4": (
        "thirty strangers hold 34 MB of packets that never end",
        (_HERE + "test_strangers_hold_no_more_than_the_largest_packet_before_login",),
    ),
    "P5": (
        "300 silent connections live on",
        (
            _FACTORY + "Admission::test_ten_of_an_address_may_be_not_logged_in",
            _HERE + "test_silent_connections_are_gone_after_the_deadline",
        ),
    ),
    "P6": (
        "a service can be asked for before keys",
        (_TRANSPORT + "BeforeKeys::test_only_messages_of_the_key_exchange_are_taken_before_keys",),
    ),
    "P7": (
        "60 guesses one after the other, 500 at once",
        (
            _LOGIN + "test_the_sixth_failure_ends_the_connection",
            _LOGIN + "test_500_passwords_in_one_flight_are_checked_one_at_a_time_and_cut",
        ),
    ),
    "P8": (
        "a version line with a large KEXINIT behind it is called too long",
        (_TRANSPORT + "BeforeKeys::test_a_version_line_and_a_large_kexinit_may_come_in_one_segment",),
    ),
    "P9": ("our version tells Twisted's", (_TRANSPORT + "BeforeKeys::test_our_version_tells_no_number",)),
    "P10": (
        "each malformed packet of a stranger is a traceback in the log",
        (
            _TRANSPORT + "BeforeKeys::test_a_malformed_packet_ends_the_connection_with_one_line",
            _FUZZ + "test_a_message_is_answered_ignored_or_the_end",
        ),
    ),
}

NOT_OURS = {
    "C30": "the Clock of Twisted's tests sorts at each call: a matter of simulations, which keep few timers here"
}


def test_every_hole_has_its_tests_and_every_test_is_there():
    numbered = {f"C{number}" for number in range(1, 31)}

    assert sorted(numbered - set(HOLES) - set(NOT_OURS)) == []
    assert missing(test for _, tests in HOLES.values() for test in tests) == []
    assert [hole for hole, (_, tests) in HOLES.items() if not tests] == []


def test_every_hole_that_the_code_names_is_in_the_table():
    named = set()
    for path in (ROOT / "conch_pipe").rglob("*.py"):
        named |= set(re.findall(r"\((C\d+)\)", path.read_text()))

    assert named - set(HOLES) == set()


@pytest.mark.parametrize("state", ["kexinit", "login", "file open"])
def test_a_drip_of_bytes_copies_nothing_but_itself(state):
    """Conch joins what it has with what comes: a packet that comes byte by byte is copied once for each byte (C15)."""
    size = 30_000 if state != "file open" else 250_000
    pair = STATES[state]()
    packet = pair.framed(b"\2" + string(bytes(size)))
    most, drops = packet[:-20], [packet[at : at + 1] for at in range(len(packet) - 20, len(packet) - 10)]

    pair.server.dataReceived(most)

    held = peak(lambda: [pair.server.dataReceived(drop) for drop in drops])

    assert held < 5_000


def test_nothing_that_comes_in_one_piece_with_a_goodbye_is_looked_at():
    """The client's DISCONNECT, and the refusal of a service; Conch went on with what stood behind (C21)."""
    pair = STATES["file open"]()
    goodbye = payload(1, [u32(11), string(b"bye"), string(b"")])
    pair.push(goodbye, payload(94, [u32(0), string(writing(3, FILE, 5, b"2\n") + ask(Type.CLOSE, 4, string(FILE)))]))
    assert pair.ended
    assert pair.fates != ["closed"]

    pair = STATES["service"]()
    refused = payload(5, [string(b"ssh-connection")])
    request = string(b"ann") + string(b"ssh-connection") + string(b"password") + b"\0" + string(PASSWORD)
    pair.push(refused, payload(5, [string(b"ssh-userauth")]), b"\x32" + request)
    assert (pair.ended, pair.known, pair.door.checker.attempts) == (True, False, [])


def test_a_put_of_a_thousand_writes_logs_nothing():
    """Conch wrote a line for each packet, and bytes of files where it did not understand one (C29)."""
    pair = Hostile()
    pair.start_sftp()
    with Lines() as lines:
        pair.sftp(opening(1))
        pair.sftp(b"".join(writing(number, FILE, number * 100, b"x" * 100) for number in range(1000)))

        assert lines.take() == []
    assert len(pair.door.tree.opened[0].data) == 100_000


def test_new_keys_are_asked_for_after_so_many_bytes_and_after_so_long():
    """Conch never asks; counters of AES-GCM and of packets must not run out (C19)."""
    pair = Hostile(limits=Limits(rekey_bytes=100_000))
    pair.start_sftp()
    pair.sftp(opening(1))
    for number in range(2, 14):
        assert len(pair.sftp(writing(number, FILE, 0, bytes(30_000)))) == 1
    assert pair.client.secure == 1 + 3

    pair = Hostile(limits=Limits(rekey_s=100))
    pair.start_sftp()
    for _ in range(3):
        pair.advance(101)
        assert pair.answers()
        assert len(pair.sftp(opening(1))) == 1
    assert pair.client.secure == 1 + 3


def test_a_client_that_does_not_answer_our_key_exchange_is_cut():
    """After a time, and when it asks for too much meanwhile: what it is answered waits for the new keys (C18, C19)."""
    pair = STATES["our re-key"]()
    pair.advance(31)
    assert pair.door.listener.endings == ["a key exchange did not end in time"]

    pair = STATES["our re-key"]()
    pair.door.tree.rows = 500
    for number in range(2, 100):
        handle = string(u32(number))
        asked = ask(Type.OPENDIR, 1, string(b"/in")) + ask(Type.READDIR, 2, handle) + ask(Type.CLOSE, 3, handle)
        pair.push(payload(94, [u32(0), string(asked)]))
    assert pair.door.listener.endings == ["the key exchange does not end"]


def test_strangers_hold_no_more_than_the_largest_packet_before_login():
    """Whatever they announce: the length is looked at before what follows is kept (P4)."""
    limits = Limits()
    door = Door([host_key()], STATES["login"]().clock, limits)
    pairs = [Hostile(door=door) for _ in range(limits.not_logged_in_per_address)]
    for pair in pairs:
        pair.pump()
    rest = bytes(2**20)

    def send() -> None:
        for pair in pairs:
            head = pair.framed(payload(2, [u32(2**20)]), length=2**20)
            pair.server.dataReceived(head)
            pair.server.dataReceived(rest)

    held = peak(send)

    assert all(pair.ended for pair in pairs)
    assert held < len(pairs) * 2 * limits.packet_before_login


def test_silent_connections_are_gone_after_the_deadline():
    """Before keys, and with keys but without a word (P5)."""
    pairs = [STATES[state]() for state in ("before version", "kexinit", "exchange", "newkeys", "service", "login")]

    for pair in pairs:
        pair.advance(31)

    assert all(pair.over for pair in pairs)
    assert all(pair.clock.getDelayedCalls() == [] for pair in pairs)
