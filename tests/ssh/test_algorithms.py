"""What is offered, how a KEXINIT is read, and what two sides agree on."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_pipe.ssh.fields import Malformed, string, u32
from conch_pipe.ssh.transport import kex
from conch_pipe.ssh.transport.algorithms import (
    CLIENT,
    SERVER,
    Algorithms,
    NothingInCommon,
    Proposal,
    agree,
    has_own_mac,
    read,
    restricted,
    usable_with,
    write,
)

COOKIE = bytes(range(16))
PRESETS = [*SERVER.values(), *CLIENT.values()]
MLKEM, CURVE = b"mlkem768x25519-sha256", b"curve25519-sha256"
GCM, CTR = b"aes128-gcm@openssh.com", b"aes128-ctr"
STRICT_C, STRICT_S = b"kex-strict-c-v00@openssh.com", b"kex-strict-s-v00@openssh.com"


def kexinit(*lists: bytes, guess: int = 0, reserved: int = 0, tail: bytes = b"") -> bytes:
    """Ten lists; those that are not given are "a"."""
    ten = (*lists, *[b"a"] * (10 - len(lists)))
    return COOKIE + b"".join(map(string, ten)) + bytes((guess,)) + u32(reserved) + tail


def proposal(guess: bool = False, **lists: str) -> Proposal:
    """A proposal; lists that are not given are those of the server's default."""
    plain = read(write(COOKIE, SERVER["default-2026"], ()))
    return replace(plain, guess=guess, **{name: tuple(text.encode().split()) for name, text in lists.items()})


def rsa_blob(bits: int) -> bytes:
    return string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\0" + (1 << (bits - 1) | 1).to_bytes(bits // 8, "big"))


# The presets are promises.


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_no_preset_has_anything_broken(preset: Algorithms) -> None:
    names = preset.exchanges + preset.host_keys + preset.ciphers + preset.macs

    assert names
    for name in names:
        text = name.decode()
        assert not text.endswith(("sha1", "-sha1-etm@openssh.com", "cbc")), text
        assert not any(word in text for word in ("md5", "3des", "arcfour", "group1-", "dss", "none", "umac-64")), text
    assert b"ssh-rsa" not in preset.host_keys


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_exchange_and_host_key_that_is_offered_can_be_done(preset: Algorithms) -> None:
    assert set(preset.exchanges) <= kex.NAMES
    for name in preset.host_keys:
        with pytest.raises(kex.BadSignature, match="host key or signature"):
            kex.verify(b"", b"", b"", name)


def test_the_names_of_the_presets_are_the_same_on_both_sides() -> None:
    assert list(SERVER) == list(CLIENT) == ["default-2026", "strict-2026", "legacy-2026"]
    for presets in (SERVER, CLIENT):
        assert all(preset.name == name for name, preset in presets.items())


def test_a_default_server_offers_what_was_promised() -> None:
    preset = SERVER["default-2026"]

    assert preset.exchanges == (MLKEM, CURVE, b"curve25519-sha256@libssh.org")
    assert preset.host_keys == (b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256")
    assert preset.ciphers[:3] == (GCM, b"aes256-gcm@openssh.com", b"chacha20-poly1305@openssh.com")
    assert preset.macs[0] == b"hmac-sha2-256-etm@openssh.com"


def test_a_legacy_server_only_adds_to_the_default() -> None:
    default, legacy = SERVER["default-2026"], SERVER["legacy-2026"]

    assert legacy.exchanges[: len(default.exchanges)] == default.exchanges
    assert {b"ecdh-sha2-nistp256", b"diffie-hellman-group14-sha256"} <= set(legacy.exchanges)
    assert replace(legacy, name=default.name, exchanges=default.exchanges) == default


def test_ssh_audit_has_nothing_against_a_strict_server() -> None:
    """Its table: versions, failures, warnings, notes; the rest is asked of a running server."""
    audit = pytest.importorskip("ssh_audit.ssh2_kexdb").SSH2_KexDB.get_db()
    preset = SERVER["strict-2026"]

    offered = {"kex": preset.exchanges, "key": preset.host_keys, "enc": preset.ciphers, "mac": preset.macs}

    for kind, names in offered.items():
        for name in names:
            assert not any(audit[kind][name.decode()][1:3]), name


def test_a_strict_side_is_safe_from_terrapin_whatever_the_peer_lacks() -> None:
    """CVE-2023-48795: ChaCha20-Poly1305, and CBC with encrypt-then-MAC, where one side has no strict kex."""
    for preset in (SERVER["strict-2026"], CLIENT["strict-2026"]):
        assert all(name.startswith(b"aes") for name in preset.ciphers)


def test_a_strict_server_does_not_use_an_rsa_key_that_ssh_audit_warns_of() -> None:
    assert usable_with(rsa_blob(2048), SERVER["strict-2026"]) == ()
    assert usable_with(rsa_blob(3072), SERVER["strict-2026"]) == (b"rsa-sha2-512", b"rsa-sha2-256")


def test_a_key_serves_the_algorithms_of_its_type() -> None:
    server, client = SERVER["default-2026"], CLIENT["default-2026"]

    assert usable_with(string(b"ssh-ed25519") + string(bytes(32)), server) == (b"ssh-ed25519",)
    assert usable_with(rsa_blob(2048), server) == (b"rsa-sha2-512", b"rsa-sha2-256")
    assert usable_with(rsa_blob(1024), server) == ()
    assert usable_with(string(b"ecdsa-sha2-nistp384"), server) == ()
    assert usable_with(string(b"ecdsa-sha2-nistp384"), client) == (b"ecdsa-sha2-nistp384",)
    assert usable_with(string(b"ssh-dss"), client) == ()
    with pytest.raises(Malformed):
        usable_with(b"", client)


def test_a_pinned_key_leaves_no_other_algorithm_to_choose() -> None:
    """A server with two keys must not answer with the one that was not pinned."""
    client = restricted(CLIENT["default-2026"], (b"rsa-sha2-256", b"rsa-sha2-512", b"ssh-dss"))
    server = read(write(COOKIE, SERVER["default-2026"], ()))

    assert client.host_keys == (b"rsa-sha2-512", b"rsa-sha2-256")
    assert agree(read(write(COOKIE, client, ())), server).host_key == b"rsa-sha2-512"


# KEXINIT on the wire.


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_what_is_written_is_read(preset: Algorithms) -> None:
    payload = write(COOKIE, preset, (STRICT_S, b"ext-info-s"))

    offer = read(payload)

    assert payload[:16] == COOKIE
    assert offer.exchanges == (*preset.exchanges, STRICT_S, b"ext-info-s")
    assert offer.host_keys == preset.host_keys
    assert offer.ciphers_to_server == offer.ciphers_to_client == preset.ciphers
    assert offer.macs_to_server == offer.macs_to_client == preset.macs
    assert offer.compressions_to_server == offer.compressions_to_client == (b"none",)
    assert not offer.guess


def test_each_list_lands_in_its_direction() -> None:
    offer = read(kexinit(b"k", b"h", b"cs,x", b"cc", b"ms", b"mc", b"zs", b"zc", b"", b"", guess=1))

    assert offer == Proposal(
        exchanges=(b"k",),
        host_keys=(b"h",),
        ciphers_to_server=(b"cs", b"x"),
        ciphers_to_client=(b"cc",),
        macs_to_server=(b"ms",),
        macs_to_client=(b"mc",),
        compressions_to_server=(b"zs",),
        compressions_to_client=(b"zc",),
        guess=True,
    )


def test_an_empty_list_has_no_names() -> None:
    assert read(kexinit(b"k", b"h", b"c", b"c", b"")).macs_to_server == ()


def test_lists_as_long_as_the_bounds_are_read() -> None:
    names = (b"n" * 64,) * 128

    assert read(kexinit(b",".join(names))).exchanges == names


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(COOKIE[:15], id="half a cookie"),
        pytest.param(COOKIE, id="a cookie alone"),
        pytest.param(kexinit()[:-1], id="cut"),
        pytest.param(kexinit(tail=b"\0"), id="a byte too many"),
        pytest.param(kexinit(b","), id="no names"),
        pytest.param(kexinit(b"a,,b"), id="an empty name"),
        pytest.param(kexinit(b"a,"), id="a comma at the end"),
        pytest.param(kexinit(b",a"), id="a comma in front"),
        pytest.param(kexinit(b"a b"), id="a space"),
        pytest.param(kexinit(b"a\n"), id="a line end"),
        pytest.param(kexinit(b"a\0"), id="NUL"),
        pytest.param(kexinit(b"a\x7f"), id="DEL"),
        pytest.param(kexinit(b"\xc3\xa4"), id="not ASCII"),
        pytest.param(kexinit(b"n" * 65), id="a long name"),
        pytest.param(kexinit(b",".join([b"a"] * 129)), id="many names"),
        pytest.param(kexinit(b"a," * 100_000), id="very many names"),
        pytest.param(kexinit(*[b"a"] * 8, b"x" * 9_000), id="long languages"),
        pytest.param(COOKIE + b"\xff" * 4, id="a length beyond the end"),
    ],
)
def test_what_is_no_kexinit_is_refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        read(payload)


def test_a_reserved_number_is_left_to_the_future() -> None:
    assert read(kexinit(reserved=7)) == read(kexinit())


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    for candidate in (payload, COOKIE + payload, kexinit(payload), kexinit(*[b"a"] * 7, payload)):
        with contextlib.suppress(Malformed):
            read(candidate)


NAME = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1, max_size=64)


@given(st.lists(st.lists(NAME, max_size=128), min_size=8, max_size=8), st.booleans())
def test_any_names_within_the_bounds_are_read_as_they_are(lists: list[list[str]], guess: bool) -> None:
    offer = read(kexinit(*[",".join(names).encode() for names in lists], guess=guess))

    as_read = (
        offer.exchanges,
        offer.host_keys,
        offer.ciphers_to_server,
        offer.ciphers_to_client,
        offer.macs_to_server,
        offer.macs_to_client,
        offer.compressions_to_server,
        offer.compressions_to_client,
    )
    assert as_read == tuple(tuple(name.encode() for name in names) for names in lists)
    assert offer.guess is guess


@given(st.data())
def test_a_kexinit_with_a_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    payload = bytearray(write(COOKIE, CLIENT["default-2026"], (b"ext-info-c",)))
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

    with contextlib.suppress(Malformed):
        read(bytes(payload))


# Agreement.


def test_the_client_s_order_decides() -> None:
    client = proposal(exchanges="x curve25519-sha256 mlkem768x25519-sha256", ciphers_to_server="aes256-ctr aes128-ctr")
    server = proposal()

    agreed = agree(client, server)

    assert agreed.exchange == CURVE
    assert agreed.cipher_to_server == b"aes256-ctr"
    assert agreed.cipher_to_client == GCM


def test_the_two_directions_are_agreed_on_apart() -> None:
    client = proposal(
        ciphers_to_server="aes128-ctr",
        ciphers_to_client="aes256-ctr",
        macs_to_server="hmac-sha2-512",
        macs_to_client="hmac-sha2-256",
    )

    agreed = agree(client, proposal())

    assert (agreed.cipher_to_server, agreed.mac_to_server) == (b"aes128-ctr", b"hmac-sha2-512")
    assert (agreed.cipher_to_client, agreed.mac_to_client) == (b"aes256-ctr", b"hmac-sha2-256")


@pytest.mark.parametrize("kind", ["ciphers", "macs", "compressions"])
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_what_the_server_has_in_one_direction_is_not_there_in_the_other(kind: str, direction: str) -> None:
    ctr = proposal(ciphers_to_server="aes128-ctr", ciphers_to_client="aes128-ctr")

    with pytest.raises(NothingInCommon):
        agree(ctr, replace(ctr, **{f"{kind}_{direction}": (b"other",)}))


@pytest.mark.parametrize(
    "cipher", ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"]
)
def test_a_cipher_that_authenticates_needs_no_mac_in_common(cipher: str) -> None:
    client = proposal(ciphers_to_server=cipher, ciphers_to_client=cipher, macs_to_server="hmac-md5", macs_to_client="")

    agreed = agree(client, proposal())

    assert has_own_mac(agreed.cipher_to_server)
    assert (agreed.mac_to_server, agreed.mac_to_client) == (b"", b"")


def test_a_mac_is_agreed_on_for_the_direction_that_needs_one() -> None:
    agreed = agree(proposal(ciphers_to_client="aes128-ctr", macs_to_client="hmac-sha2-512 hmac-sha2-256"), proposal())

    assert (agreed.mac_to_server, agreed.mac_to_client) == (b"", b"hmac-sha2-512")


@pytest.mark.parametrize("marker", ["ext-info-c", "ext-info-s", STRICT_C.decode(), STRICT_S.decode()])
def test_markers_are_never_agreed_on(marker: str) -> None:
    """Both sides sending the same one must not make it the method."""
    one = proposal(exchanges=f"{marker} curve25519-sha256")
    only = proposal(exchanges=marker)

    assert agree(one, one).exchange == CURVE
    with pytest.raises(NothingInCommon, match="no common key exchange: client offers nothing; server offers nothing"):
        agree(only, only)


@pytest.mark.parametrize(
    ("client", "server", "right"),
    [
        ({}, {}, True),
        ({"exchanges": f"{STRICT_C.decode()} mlkem768x25519-sha256"}, {}, True),
        ({"exchanges": "curve25519-sha256 mlkem768x25519-sha256"}, {}, False),
        ({"exchanges": "curve25519-sha256"}, {}, False),
        ({"exchanges": "sntrup mlkem768x25519-sha256"}, {}, False),
        ({"host_keys": "rsa-sha2-512 ssh-ed25519"}, {}, False),
        ({"host_keys": "rsa-sha2-512"}, {"host_keys": "rsa-sha2-512"}, True),
        ({"ciphers_to_server": "aes256-ctr", "macs_to_server": "hmac-sha2-512"}, {}, True),
    ],
)
def test_a_guess_is_right_when_the_first_exchange_and_host_key_are_the_same(
    client: dict[str, str], server: dict[str, str], right: bool
) -> None:
    """The client's own first choice is not enough: RFC 4253 section 7 asks for both sides' to be equal."""
    assert agree(proposal(guess=True, **client), proposal(**server)).guess_was_right is right


@pytest.mark.parametrize(
    ("lists", "what"),
    [
        ({"exchanges": "diffie-hellman-group1-sha1"}, "key exchange"),
        ({"exchanges": ""}, "key exchange"),
        ({"host_keys": "ssh-rsa"}, "host key"),
        ({"ciphers_to_server": "3des-cbc"}, "cipher"),
        ({"ciphers_to_client": "3des-cbc"}, "cipher"),
        ({"ciphers_to_server": "aes128-ctr", "macs_to_server": "hmac-sha1"}, "MAC"),
        ({"ciphers_to_client": "aes128-ctr", "macs_to_client": ""}, "MAC"),
        ({"compressions_to_server": "zlib"}, "compression"),
        ({"compressions_to_client": "zlib@openssh.com"}, "compression"),
    ],
)
def test_nothing_in_common_says_what(lists: dict[str, str], what: str) -> None:
    with pytest.raises(NothingInCommon, match=f"^no common {what}: client offers ") as raised:
        agree(proposal(**lists), proposal())

    assert raised.value.what == what
    assert set(raised.value.client).isdisjoint(raised.value.server)


def test_nothing_in_common_names_both_lists() -> None:
    with pytest.raises(NothingInCommon) as raised:
        agree(proposal(ciphers_to_server="a b"), proposal(ciphers_to_server="c"))

    assert str(raised.value) == "no common cipher: client offers a,b; server offers c"


def test_a_long_offer_is_told_in_short() -> None:
    many = " ".join(f"cipher-{number}" for number in range(128))

    with pytest.raises(NothingInCommon) as raised:
        agree(proposal(ciphers_to_server=many), proposal(ciphers_to_server=many.replace("cipher", "other")))

    text = str(raised.value)
    assert len(text) <= 500
    assert text.isascii()
    assert text.isprintable()
    assert len(raised.value.client) == 128


def test_only_no_compression_is_agreed_on() -> None:
    zlib_first = proposal(compressions_to_server="zlib none", compressions_to_client="zlib none")

    agree(zlib_first, zlib_first)


@pytest.mark.parametrize("server", SERVER.values(), ids=lambda preset: preset.name)
@pytest.mark.parametrize("client", CLIENT.values(), ids=lambda preset: preset.name)
def test_our_clients_and_our_servers_agree(client: Algorithms, server: Algorithms) -> None:
    agreed = agree(read(write(COOKIE, client, (STRICT_C,))), read(write(COOKIE, server, (STRICT_S,))))

    assert (agreed.exchange, agreed.host_key, agreed.cipher_to_server) == (MLKEM, b"ssh-ed25519", GCM)
