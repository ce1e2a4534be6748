"""TLS by files: 1.2 and later, fresh files taken up while the service runs, bad ones told and left."""

from __future__ import annotations

import contextlib

import pytest
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from conch_pipe import events
from conch_pipe.errors import PipeError
from conch_pipe.web.certificates import Certificates
from conch_pipe.web.limits import Limits
from conch_pipe.web.responses import Response
from conch_pipe.web.site import Site
from tests.sftp.fakes import HeardEvents
from tests.web import certificates


class Wire(StringTransport):
    """As a TCP transport has it."""

    def setTcpNoDelay(self, enabled):
        pass

    def abortConnection(self):
        self.loseConnection()


class TlsDoor:
    """A site with TLS and a client of OpenSSL's, in memory."""

    def __init__(self, folder, clock):
        self.events = HeardEvents()
        self.files = certificates.write(folder)
        self.certificates = Certificates(*self.files, self.events)
        self.certificates.load()

        async def answer(request):
            return Response(body=b"hello")

        self.site = Site(answer, self.events, clock, Limits(), creator=self.certificates)

    def connect(self, **versions):
        """A handshake; the client's connection, and what carries bytes on."""
        context = SSL.Context(SSL.TLS_METHOD)
        if "most" in versions:
            context.set_max_proto_version(versions["most"])
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
        client = SSL.Connection(context, None)
        client.set_connect_state()
        protocol = self.site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5))
        transport = Wire()
        protocol.makeConnection(transport)

        def carry():
            for _ in range(10):
                with contextlib.suppress(SSL.WantReadError):
                    client.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    protocol.dataReceived(client.bio_read(65_536))
                if transport.value():
                    client.bio_write(transport.value())
                    transport.clear()

        try:
            carry()
        finally:
            self.last = protocol
        return client, carry

    def served(self):
        client, _ = self.connect()
        name = client.get_peer_certificate().to_cryptography().subject.rfc4514_string().removeprefix("CN=")
        self.end()
        return name

    def end(self):
        self.last.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def tls(tmp_path):
    return TlsDoor(tmp_path, Clock())


def test_requests_are_answered_over_tls_and_browsers_told_to_keep_to_it(tls):
    client, carry = tls.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    carry()

    said = client.recv(65_536)

    assert said.endswith(b"hello")
    assert b"Strict-Transport-Security: max-age=" in said
    tls.end()


@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_versions_of_before_1_2_are_refused(tls, version):
    with pytest.raises(SSL.Error):
        tls.connect(most=version)
    tls.end()


def test_1_2_and_1_3_are_spoken(tls):
    for version, name in ((SSL.TLS1_2_VERSION, "TLSv1.2"), (SSL.TLS1_3_VERSION, "TLSv1.3")):
        client, _ = tls.connect(most=version)
        assert client.get_protocol_version_name() == name
        tls.end()


def test_a_fresh_certificate_is_used_without_a_restart(tls, tmp_path):
    assert tls.served() == "tls.example"
    certificates.write(tmp_path, "renewed.example")

    tls.certificates.look()

    assert tls.served() == "renewed.example"
    assert [one["names"] for one in tls.events.of(events.WEB_CERTIFICATE)] == [
        "tls.example, 127.0.0.1",
        "renewed.example, 127.0.0.1",
    ]


def test_files_that_did_not_change_are_not_told_of_again(tls):
    tls.certificates.look()

    assert len(tls.events.of(events.WEB_CERTIFICATE)) == 1


@pytest.mark.parametrize("how", ["gone", "half", "another key", "nonsense"])
def test_files_that_cannot_be_used_leave_the_old_ones_in_force_and_are_told_once(tls, tmp_path, how):
    certificate, key = tls.files
    if how == "gone":
        certificate.unlink()
    elif how == "half":
        certificate.write_bytes(certificate.read_bytes()[:200])
    elif how == "nonsense":
        key.write_text("kanarek")
    else:
        (tmp_path / "other").mkdir()
        key.write_bytes(certificates.write(tmp_path / "other")[1].read_bytes())

    tls.certificates.look()
    tls.certificates.look()

    assert tls.served() == "tls.example"
    assert len(tls.events.of(events.WEB_CERTIFICATE_REFUSED)) == 1


def test_files_that_cannot_be_used_stop_the_start(tmp_path):
    certificate, key = certificates.write(tmp_path)
    key.unlink()

    with pytest.raises(PipeError, match=r"http\.certificate, http\.key"):
        Certificates(certificate, key, HeardEvents()).load()
