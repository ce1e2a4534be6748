"""The header of a proxy: read whole, bounded, or refused."""

from __future__ import annotations

import contextlib
import struct
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.server.proxy_protocol import LONGEST, SIGNATURE, Header, crc32c, parse

LOCAL, PROXY = 0x20, 0x21
TCP4 = (0x11, bytes([192, 0, 2, 33]) + bytes([10, 0, 0, 1]) + struct.pack(">HH", 50_123, 2222))
# As haproxy 2.9 writes "send-proxy-v2": 28 bytes for IPv4.
WITNESS = bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c c0000221 0a000001 c3cb 08ae")


def header(command: int = PROXY, family: int = TCP4[0], body: bytes = TCP4[1]) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


def field(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def checked(body: bytes, after: bytes = b"") -> bytes:
    """A header with the field of its checksum, and perhaps more behind it."""
    blank = header(body=body + field(3, bytes(4)) + after)
    at = len(blank) - len(after) - 4
    return blank[:at] + crc32c(blank).to_bytes(4, "big") + blank[at + 4 :]


def problem(data: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        parse(data)
    return str(caught.value)


def test_a_client_by_ipv4():
    assert parse(WITNESS) == parse(header()) == Header(28, "192.0.2.33", 50_123)


def test_a_client_by_ipv6():
    addresses = ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed
    found = parse(header(family=0x21, body=addresses + struct.pack(">HH", 1, 2222)))

    assert found == Header(52, "2001:db8::7", 1)


@pytest.mark.parametrize("body", [b"", TCP4[1], b"\x07" * 30])
def test_a_health_check_of_the_proxy_has_no_client_whatever_else_it_says(body):
    assert parse(header(command=LOCAL, family=0, body=body)) == Header(16 + len(body))
    assert parse(header(command=LOCAL, body=body)) == Header(16 + len(body))


def test_a_client_the_proxy_cannot_name():
    assert parse(header(family=0, body=b"")) == Header(16)
    assert parse(b"PROXY UNKNOWN ffff::1 what ever\r\nSSH") == Header(33)


def test_what_follows_the_header_is_not_touched():
    assert parse(WITNESS + b"SSH-2.0-x\r\n") == parse(WITNESS)


def test_unknown_fields_are_skipped():
    body = TCP4[1] + field(0x02, b"sftp.example") + field(0xEA, bytes(20)) + field(4, b"")

    assert parse(header(body=body)) == Header(16 + len(body), "192.0.2.33", 50_123)


def test_the_checksum_is_the_one_of_rfc_3720():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_a_right_checksum_is_taken_and_a_wrong_bit_is_not():
    good = checked(TCP4[1] + field(2, b"name"), after=field(4, b"pad"))
    assert parse(good) == Header(len(good), "192.0.2.33", 50_123)

    for at in (17, 25, 33, 40, len(good) - 1):
        bad = bytearray(good)
        bad[at] ^= 1
        assert problem(bytes(bad)) == "the checksum of the PROXY header is wrong"
    assert problem(header(body=TCP4[1] + field(3, b"abc"))) == "the checksum of the PROXY header is wrong"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no PROXY header"),
        (b"GET / HTTP/1.1\r\n", "no PROXY header"),
        (b"\r\n\r\n\0\r\nQUIT\r", "no PROXY header"),
        (header(command=0x22), "a PROXY header of an unknown version or command"),
        (header(command=0x11), "a PROXY header of an unknown version or command"),
        (header(family=0x12), "a PROXY header for something other than TCP"),
        (header(family=0x31, body=bytes(216)), "a PROXY header for something other than TCP"),
        (header(body=TCP4[1][:-1]), "the PROXY header ends too early"),
        (header(body=TCP4[1] + b"\2"), "the PROXY header ends too early"),
        (header(body=TCP4[1] + b"\2\0\5abcd"), "the PROXY header ends too early"),
        (header(body=TCP4[1] + bytes(LONGEST)), "the PROXY header is too long"),
        (SIGNATURE + b"\x21\x11\xff\xff", "the PROXY header is too long"),
        (b"PROXY TCP4 " + b"1" * 100, "the PROXY header is too long"),
    ],
)
def test_anything_else_is_refused_as_soon_as_it_is_known(data, words):
    assert problem(data) == words


def test_version_1_which_is_all_that_nginx_has():
    four, six = b"PROXY TCP4 192.0.2.33 10.0.0.1 50123 2222\r\n", b"PROXY TCP6 2001:db8::7 ::1 1 2222\r\n"

    assert parse(four + b"SSH-") == Header(len(four), "192.0.2.33", 50_123)
    assert parse(six) == Header(len(six), "2001:db8::7", 1)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY",
        b"PROXY ",
        b"PROXY TCP4 192.0.2.33 10.0.0.1 50123",
        b"PROXY TCP4 192.0.2.33 10.0.0.1 50123 2222 9",
        b"PROXY TCP4 192.0.2.33 10.0.0.1 65536 2222",
        b"PROXY TCP4 192.0.2.33 10.0.0.1 -1 2222",
        b"PROXY TCP4 2001:db8::7 ::1 1 2222",
        b"PROXY TCP4 192.0.2.033 10.0.0.1 1 2222",
        b"PROXY UDP4 192.0.2.33 10.0.0.1 1 2222",
        b"PROXY TCP4  192.0.2.33 10.0.0.1 1 2222",
        b"PROXY TCP4 \xd9\xa1.0.2.33 10.0.0.1 1 2222",
    ],
)
def test_a_line_of_version_1_that_is_not_exact_is_refused(line):
    problem(line + b"\r\n")


TRAILING = st.binary(max_size=30)
BODIES = st.builds(
    lambda fields: TCP4[1] + b"".join(field(kind, value) for kind, value in fields),
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 5, 0x20, 0xEE]), st.binary(max_size=60)), max_size=5),
)
WHOLE = st.one_of(
    BODIES.map(lambda body: header(body=body)),
    BODIES.map(checked),
    st.just(header(command=LOCAL, family=0, body=b"")),
    st.just(b"PROXY TCP4 192.0.2.33 10.0.0.1 50123 2222\r\n"),
)


@given(WHOLE, TRAILING)
def test_however_it_is_cut_more_is_asked_for_and_then_the_same_is_read(data, trailing):
    """Never a verdict from less than all of it: also not that it is malformed."""
    for size in range(len(data)):
        assert parse(data[:size]) is None
    assert parse(data + trailing) == parse(data)
    assert parse(data).consumed == len(data)


@given(WHOLE, st.integers(0, 400), st.integers(0, 255), TRAILING)
def test_a_broken_header_is_read_refused_or_waited_for_and_nothing_else(data, at, byte, trailing):
    broken = bytearray(data + trailing)
    broken[at % len(broken)] = byte

    try:
        found = parse(bytes(broken))
    except Malformed:
        return
    assert found is None or (found.consumed <= min(len(broken), LONGEST) and 0 <= found.port <= 65_535)


@given(st.binary(min_size=LONGEST, max_size=LONGEST + 100))
@example(SIGNATURE + b"\x21\x11\x03\xf0" + bytes(LONGEST))
def test_no_more_than_the_longest_header_is_ever_waited_for(data):
    with contextlib.suppress(Malformed):
        assert parse(data) is not None
