"""The rules of the form of a remote: one by one, and all mistakes of a form at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_pipe.model import Remote
from conch_pipe.remotes import form
from conch_pipe.remotes.addresses import host_mistake
from conch_pipe.remotes.form import Wrong, read

FILLED = {"organisation": "acme", "name": "acme-eu", "host": "sftp.acme.example", "username": "pipe"}


def refusal(field: str, value: object) -> str:
    """Why a field is refused; it must be the only mistake, and must not repeat the value."""
    values, mistakes = read({**FILLED, field: value}, new=True)
    assert field not in values
    (mistake,) = mistakes
    assert mistake.startswith(f"{field}: ")
    assert not isinstance(value, str) or len(value) < 8 or value not in mistake
    return mistake


def taken(field: str, value: object) -> Any:
    """What becomes of a field that is good."""
    values, mistakes = read({**FILLED, field: value}, new=True)
    assert mistakes == []
    return values[field]


def test_every_field_is_one_of_the_model():
    assert set(form.RULES) - {"password"} <= set(Remote.__dataclass_fields__)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_form():
    _, mistakes = read(
        {
            "name": "Acme EU",
            "host": "sftp://acme.example",
            "port": "65536",
            "username": "",
            "password": "x" * 101,
            "folder": "in/../..",
            "max_connections": 0,
            "source_address": "::1",
            "algorithms": "none",
            "temporary_names": "yes",
            "marker": "a/b",
            "chunk_size": "7",
            "colour": "blue",
        },
        new=True,
    )

    assert [one.partition(":")[0] for one in mistakes] == ["colour", *form.RULES]


def test_a_form_for_a_change_needs_nothing_and_gives_back_only_what_was_filled_in():
    assert read({"port": "2022", "host": None}, new=False) == ({"port": 2022}, [])


def test_what_is_missing_is_named():
    _, mistakes = read({}, new=True)

    assert mistakes == [f"{one}: is missing" for one in ("organisation", "name", "host", "username")]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("sftp.acme.example", "sftp.acme.example"),
        (" SFTP.Acme.Example ", "sftp.acme.example"),
        ("sftp.acme.example.", "sftp.acme.example"),
        ("intranet", "intranet"),
        ("my_server.acme.example", "my_server.acme.example"),
        ("3com.example", "3com.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("127.0.0.1", "127.0.0.1"),  # whether we may go there is for the settings
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a" * 63 + "." + "b" * 36, "a" * 63 + "." + "b" * 36),
    ],
)
def test_hosts_that_are_taken(typed, kept):
    assert taken("host", typed) == kept
    assert host_mistake(kept) is None


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "missing"),
        ("   ", "missing"),
        ("a" * 63 + "." + "b" * 37, "at most 100"),
        ("ü" * 50 + "." + "ü" * 49, "at most 100"),
        ("sftp://sftp.acme.example", "without sftp://"),
        ("::1", "IPv6"),
        ("[2001:db8::1]", "IPv6"),
        ("[2001:db8::1]:22", "IPv6"),
        ("2001:db8::1", "IPv6"),
        ("::ffff:203.0.113.7", "IPv6"),
        ("sftp.acme.example:2222", "port has a field"),
        ("203.0.113.7:22", "port has a field"),
        ("pipe@sftp.acme.example", "user name has a field"),
        ("sftp.acme.example/in", "folder has a field"),
        ("sftp.acme.example\n", "control characters"),
        ("sftp\x00.acme.example", "control characters"),
        ("sftp acme example", "neither"),
        ("-acme.example", "neither"),
        ("acme-.example", "neither"),
        ("acme..example", "neither"),
        (".", "neither"),
        ("a" * 64 + ".example", "neither"),
        ("256.1.1.1", "neither"),
        ("10.0.0", "neither"),
        ("127.1", "neither"),
        ("2130706433", "neither"),
        ("0x7f000001", "neither"),
        ("010.0.0.1", "neither"),
        ("acme.example,evil.example", "neither"),
        ("аcme\u200b\u200d.example", "not a domain name"),
        ("1.2.3.４", None),  # fullwidth four: an address after all
        ("0.0.0.0", "no server"),
        ("224.0.0.1", "no server"),
        ("255.255.255.255", "no server"),
        (7, "text"),
    ],
)
def test_hosts_that_are_refused(typed, why):
    if why is None:
        assert taken("host", typed) == "1.2.3.4"
    else:
        assert why in refusal("host", typed)


@pytest.mark.parametrize(("typed", "kept"), [("22", 22), (1, 1), ("65535", 65_535), (" 2022 ", 2022), ("0022", 22)])
def test_ports_that_are_taken(typed, kept):
    assert taken("port", typed) == kept


@pytest.mark.parametrize(
    "typed", ["0", 0, "65536", 65_536, "-1", -1, "ssh", "", "22.0", 22.0, True, "２２", "1e3", None]
)
def test_ports_that_are_refused(typed):
    if typed is None:
        assert "port" not in read({**FILLED, "port": None}, new=True)[0]
    else:
        assert "1 to 65535" in refusal("port", typed)


@pytest.mark.parametrize("field", ["username", "password"])
@pytest.mark.parametrize(
    "typed", ["Pipe", "pIPE", " pipe ", "p" * 100, "ü" * 100, "DOMAIN\\pipe", "pipe@acme", "日本", "a b"]
)
def test_names_and_passwords_stay_as_they_are(field, typed):
    assert taken(field, typed) == typed


@pytest.mark.parametrize("field", ["username", "password", "folder", "marker"])
@pytest.mark.parametrize("typed", ["p" * 101, "a\nb", "a\x00b", "a\x1bb", "a\x85b", "a\u2028b", "\ud800", 7, ["a"]])
def test_long_texts_and_control_characters_are_refused(field, typed):
    refusal(field, typed)


def test_empty_names_and_passwords_are_refused():
    assert "missing" in refusal("username", "")
    assert "empty" in refusal("password", "")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", ""),
        (".", ""),
        ("./", ""),
        ("/", "/"),
        ("//", "/"),
        ("in", "in"),
        ("In/2026", "In/2026"),
        ("/srv/in/", "/srv/in"),
        ("./in//x/./y/", "in/x/y"),
        ("..in", "..in"),
        ("in~", "in~"),
        ("/~/in", "/~/in"),
        ("a b", "a b"),
        ("/" + "f" * 99, "/" + "f" * 99),
    ],
)
def test_folders_that_are_taken(typed, kept):
    assert taken("folder", typed) == kept


@pytest.mark.parametrize("typed", ["..", "../in", "in/..", "/in/../out", "~", "~/in"])
def test_folders_that_lead_elsewhere_are_refused(typed):
    refusal("folder", typed)


@pytest.mark.parametrize("typed", ["1", 1, "25", "100", 100])
def test_numbers_of_connections_that_are_taken(typed):
    assert taken("max_connections", typed) == int(typed)


@pytest.mark.parametrize("typed", ["0", 0, "101", 101, -1, "many", False])
def test_numbers_of_connections_that_are_refused(typed):
    assert "1 to 100" in refusal("max_connections", typed)


@pytest.mark.parametrize(("typed", "kept"), [("", ""), ("192.0.2.10", "192.0.2.10"), (" 127.0.0.1 ", "127.0.0.1")])
def test_source_addresses_that_are_taken(typed, kept):
    assert taken("source_address", typed) == kept


@pytest.mark.parametrize("typed", ["::1", "eth0", "sftp.acme.example", "192.0.2.10:22", "0.0.0.0", "192.0.2", 7])
def test_source_addresses_that_are_refused(typed):
    refusal("source_address", typed)


def test_a_source_address_must_be_one_of_this_machine():
    asked: list[str] = []

    def ours(address: str) -> bool:
        asked.append(address)
        return address == "127.0.0.1"

    assert read({"source_address": "127.0.0.1"}, new=False, ours=ours)[1] == []
    assert "not an address of this machine" in read({"source_address": "192.0.2.10"}, new=False, ours=ours)[1][0]
    assert read({"source_address": ""}, new=False, ours=ours) == ({"source_address": ""}, [])
    assert asked == ["127.0.0.1", "192.0.2.10"]


def test_presets_are_those_of_the_client():
    for preset in ("default-2026", "strict-2026", "legacy-2026"):
        assert taken("algorithms", preset) == preset
    assert "default-2026" in refusal("algorithms", "default-2020")


@pytest.mark.parametrize(
    "typed", ["", "{NAME}.done", "done", "{NAME}", "ready-{NAME}.txt", ".{NAME}.ok", "{NAME}.mp4.ok"]
)
def test_markers_that_are_taken(typed):
    if typed == "{NAME}":  # a raw file without an extension could be called so
        assert "could have" in refusal("marker", typed)
    else:
        assert taken("marker", typed) == typed


@pytest.mark.parametrize(
    "typed",
    [
        "done/{NAME}",
        ".",
        "..",
        "{name}.ok",
        "{NAME",
        "{}",
        "{NAME}.mp4",
        "{NAME}.JPG",
        "{NAME}_filmstrip.jpg",
        ".{NAME}.mp4.part",
        "x_raw.webm",
    ],
)
def test_markers_that_would_do_harm_are_refused(typed):
    refusal("marker", typed)


@pytest.mark.parametrize(("typed", "kept"), [("0", 0), (0, 0), ("1024", 1024), (32_768, 32_768), ("261120", 261_120)])
def test_chunk_sizes_that_are_taken(typed, kept):
    assert taken("chunk_size", typed) == kept


@pytest.mark.parametrize("typed", ["1", 1023, 261_121, "-0", False, "32k"])
def test_chunk_sizes_that_are_refused(typed):
    assert "0 or a number from 1024 to 261120" in refusal("chunk_size", typed)


@given(
    st.fixed_dictionaries(
        {}, optional={one: st.text(max_size=120) | st.integers() | st.booleans() for one in form.RULES}
    )
)
def test_whatever_is_filled_in_either_a_value_or_a_mistake_comes_out(fields):
    values, mistakes = read(fields, new=False)

    named = [one.partition(":")[0] for one in mistakes]
    assert sorted([*values, *named]) == sorted(fields)
    for name, value in values.items():
        assert form.RULES[name](value) == value, "what was taken is taken again"


@given(st.text(max_size=120))
def test_a_host_that_is_taken_is_ascii_short_and_no_ipv6(text):
    try:
        host = form.host(text)
    except Wrong:
        return
    assert host.isascii()
    assert host_mistake(host) is None, "what the form takes can be connected to"
    assert 1 <= len(host) <= 100
    assert not set(host) & set(" :/@[]%,;\\\"'$`")
