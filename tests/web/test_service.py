"""The HTTP door as a service: where it says it is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import succeed

from conch_pipe import events
from conch_pipe.web.service import WebService
from tests.web import certificates


class Place:
    """An endpoint that is somewhere."""

    def __init__(self, host: str) -> None:
        self.host = host

    def listen(self, factory):
        kind = IPv6Address if ":" in self.host else IPv4Address
        return succeed(SimpleNamespace(getHost=lambda: kind("TCP", self.host, 8080), stopListening=lambda: None))


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("192.0.2.7", False, "http://192.0.2.7:8080"),
        ("0.0.0.0", False, "http://127.0.0.1:8080"),
        ("::", False, "http://[::1]:8080"),
        ("2001:db8::1", True, "https://[2001:db8::1]:8080"),
    ],
)
def test_an_address_that_can_be_opened_is_told(host, tls, url, door, tmp_path):
    files = certificates.write(tmp_path) if tls else None
    door.login.start = door.login.stop = lambda: None
    service = WebService(Place(host), door.parts, key_file=tmp_path / "k", token_s=900, certificate=files)

    door.now(service.startService())

    assert door.events.of(events.WEB_STARTED) == [{"url": url, "port": 8080}]
    assert service.url == url
    door.now(service.stopService())
