"""Whom an address counts for."""

from __future__ import annotations

import pytest

from conch_pipe.ssh.server.addresses import Networks, source


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("local", "local", True),
    ],
)
def test_an_ipv4_address_and_an_ipv6_network_of_64_bits_count_as_one(one, other, same):
    assert (source(one) == source(other)) is same


def test_networks_know_their_addresses_also_as_an_ipv6_socket_shows_them():
    networks = Networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])

    inside = ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:1::1"]
    outside = ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::ffff:11.0.0.1", "local"]
    assert [address in networks for address in inside + outside] == [True] * 4 + [False] * 5
    assert "10.0.0.1" not in Networks()


@pytest.mark.parametrize("text", ["10.0.0.1/8", "ten", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError):
        Networks([text])
