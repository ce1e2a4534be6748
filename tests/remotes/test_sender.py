"""A webhook's message: signed, to judged addresses only, and whatever the receiver does it ends soon and small."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

import pytest
from pytest_twisted import async_yield_fixture, ensureDeferred
from standardwebhooks import Webhook, WebhookVerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.web.http_headers import Headers

from conch_pipe.errors import Mistakes
from conch_pipe.model import Happening
from conch_pipe.remotes.sender import ANSWER, BODY, SHOWN, Sender, judged
from conch_pipe.remotes.webhook_form import judged as form
from conch_pipe.remotes.webhook_form import url_mistakes
from tests.remotes.net import Net
from tests.remotes.receivers import Authority, Listening, Names, Receiver

HERE = [IPv4Network("127.0.0.0/8")]
SECRET = "whsec_" + "a2FuYXJlaw" * 4 + "AAAA"  # the canary, in base64
OTHER = "whsec_" + "QUJD" * 11
BODY_TEXT = json.dumps({"type": "upload.completed", "data": {"name": "é"}})
PUBLIC = "93.184.216.34"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@async_yield_fixture
async def listening():
    """Ports, of which nothing is left at the end: the sender ends every connection."""
    ports = Listening()

    def listen(receiver, options=None):
        return ports(receiver.factory() if isinstance(receiver, Receiver) else Factory.forProtocol(receiver), options)

    yield listen
    await ports.stop()


def sender(**how):
    from twisted.internet import reactor

    return Sender(reactor, HERE, resolver=Names(), **how)


async def send(to, url, secrets=(SECRET,)):
    return await to.send(url, "msg_1", BODY_TEXT, secrets, datetime.now(UTC))


@ensureDeferred
async def test_a_message_arrives_signed_and_is_verified_by_the_receivers_library(listening, authority):
    receiver = Receiver()
    port = listening(receiver, authority.options("hooks.test"))

    answer = await send(sender(trust=authority.trust), f"https://hooks.test:{port}/a?b=c", (SECRET, OTHER))

    assert (answer.status, answer.reason, answer.body) == (200, "", "thanks")
    [got] = receiver.received
    assert (got.method, got.path, got.headers["content-type"]) == ("POST", "/a?b=c", "application/json")
    assert got.headers["webhook-id"] == "msg_1"
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(got.body, got.headers) == json.loads(BODY_TEXT)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(got.body + b" ", got.headers)


@ensureDeferred
async def test_an_address_in_the_url_is_held_to_its_certificate(listening, authority):
    port = listening(Receiver(), authority.options("127.0.0.1"))

    assert (await send(sender(trust=authority.trust), f"https://127.0.0.1:{port}/")).reason == ""


@ensureDeferred
async def test_a_certificate_that_is_wrong_ends_it_before_a_byte_of_the_message(listening, authority):
    receiver = Receiver()
    good = sender(trust=authority.trust)
    other = listening(receiver, authority.options("other.test"))
    over = listening(receiver, authority.options("hooks.test", days=-1))
    unknown = listening(receiver, Authority().options("hooks.test"))

    answers = [await send(good, f"https://hooks.test:{port}/") for port in (other, over, unknown)]
    answers.append(await send(sender(), f"https://hooks.test:{unknown}/"))

    assert [(answer.status, answer.reason) for answer in answers] == [(None, "tls")] * 4
    assert answers[0].detail == "the certificate is for another host"
    assert "certificate verify failed" in answers[1].detail
    assert receiver.received == []


@ensureDeferred
async def test_a_receiver_that_speaks_the_other_one_is_told_as_such(listening, authority):
    port = listening(Receiver(), authority.options("hooks.test"))
    plain = listening(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"))

    assert (await send(sender(), f"http://hooks.test:{port}/")).reason in ("not_http", "connection_lost")
    assert (await send(sender(trust=authority.trust), f"https://hooks.test:{plain}/")).reason == "tls"


@ensureDeferred
async def test_a_redirect_is_not_followed(listening):
    target = Receiver()
    there = listening(target)

    def redirect(request):
        request.setResponseCode(307)
        request.setHeader("location", f"http://127.0.0.1:{there}/")
        return b""

    port = listening(Receiver(redirect))

    answer = await send(sender(), f"http://127.0.0.1:{port}/")

    assert (answer.status, answer.reason) == (307, "redirect")
    assert target.received == []


@ensureDeferred
async def test_an_endless_body_is_cut_and_its_status_counts(listening):
    ended: Deferred = Deferred()

    def flood(request):
        request.notifyFinish().addErrback(lambda _: ended.callback(None))

        class Producer:
            def resumeProducing(self):
                request.write(b"x\x1b" * 8_192)

            def stopProducing(self):
                pass

        request.registerProducer(Producer(), False)

    port = listening(Receiver(flood))

    answer = await send(sender(), f"http://127.0.0.1:{port}/")

    assert (answer.status, answer.reason) == (200, "")
    assert len(answer.body) <= SHOWN <= BODY and "\x1b" not in answer.body
    await ended  # the receiver sees the end of the connection


class Raw(Protocol):
    """Answers each request with bytes."""

    says = b""
    leaves = False

    def dataReceived(self, data):
        self.transport.write(self.says)
        if self.leaves:
            self.transport.loseConnection()


def saying(says, leaves=False):
    return type("Saying", (Raw,), {"says": says, "leaves": leaves})


@ensureDeferred
async def test_what_is_no_answer_is_told_apart(listening):
    endless = b"HTTP/1.1 200 OK\r\n" + b"".join(
        b"x-%d: %b\r\n" % (one, b"y" * 1_000) for one in range(2 * ANSWER // 1_000)
    )
    reasons = {}
    for name, protocol in {
        "endless head": saying(endless),
        "long line": saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000),
        "garbage": saying(b"SSH-2.0-OpenSSH\r\n\r\n", leaves=True),
        "nothing": saying(b"", leaves=True),
        "cut": saying(b"HTTP/1.1 200 OK\r\nconte", leaves=True),
    }.items():
        answer = await send(sender(), f"http://127.0.0.1:{listening(protocol)}/")
        assert answer.status is None and answer.detail
        reasons[name] = answer.reason

    assert reasons.pop("endless head") == "too_much"
    assert reasons.pop("long line") in ("too_much", "connection_lost")  # the client's limit of a line comes first
    assert reasons.pop("nothing") == reasons.pop("cut") == "connection_lost"
    assert reasons == {"garbage": "not_http"}


@ensureDeferred
async def test_an_informational_flood_ends(listening):
    port = listening(saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000))

    assert (await send(sender(), f"http://127.0.0.1:{port}/")).reason in ("too_much", "not_http")


@ensureDeferred
async def test_nobody_listens(listening):
    port = listening(Receiver())
    from twisted.internet import reactor

    free = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    closed = free.getHost().port
    await free.stopListening()

    assert (await send(sender(), f"http://127.0.0.1:{closed}/")).reason == "refused"
    assert (await send(sender(), f"http://127.0.0.1:{port}/")).reason == ""


# What needs time or other addresses, in a network in memory.


@pytest.mark.parametrize("url", ["https://169.254.169.254/latest", "https://127.0.0.1/", "https://inside.test/"])
def test_addresses_that_are_not_public_are_not_connected_to(url):
    net = Net()
    net.names["inside.test"] = ["10.0.0.1"]

    answer = net.outcome(Sender(net).send(url, "msg_1", "{}", [SECRET], datetime.now(UTC)))

    assert (answer.reason, net.connected) == ("address", [])
    assert "webhooks.networks_allowed" in answer.detail


def test_a_name_is_asked_once_and_what_was_judged_is_connected_to():
    """A name that is public when it is judged and private when it is connected to is the trick."""
    net = Net()
    net.names["hooks.test"] = [[PUBLIC], ["10.0.0.1"]]
    net.names["mixed.test"] = ["10.0.0.1", PUBLIC]
    for name in ("hooks.test", "mixed.test"):
        answer = net.outcome(Sender(net).send(f"https://{name}/", "msg_1", "{}", [SECRET], datetime.now(UTC)))
        assert answer.reason == "refused"

    assert net.asked == ["hooks.test", "mixed.test"]
    assert [(host, port) for host, port, _ in net.connected] == [(PUBLIC, 443)] * 2


def test_without_tls_only_allowed_networks_are_reached():
    net = Net()
    net.names["mixed.test"] = ["127.0.0.1", PUBLIC]
    for host in (PUBLIC, "mixed.test"):
        answer = net.outcome(Sender(net, HERE).send(f"http://{host}/", "msg_1", "{}", [SECRET], datetime.now(UTC)))
        assert (answer.reason, net.connected) == ("address", [])


def test_a_name_without_an_address_is_told_as_such():
    net = Net()

    answer = net.outcome(Sender(net).send("https://nowhere.test/", "msg_1", "{}", [SECRET], datetime.now(UTC)))

    assert answer.reason == "dns"


@pytest.mark.parametrize(
    ("server", "names", "seconds"),
    [(None, ["127.0.0.1"], 10), (saying(b""), ["127.0.0.1"], 30), (saying(b"HTTP/1.1 200 OK\r\n"), ["127.0.0.1"], 30)]
    + [(None, None, 30)],
    ids=["no connection", "no answer", "half an answer", "no name"],
)
def test_everything_has_an_end(server, names, seconds):
    net = Net()
    net.names["hooks.test"] = names
    net.servers["127.0.0.1", 80] = server
    sending = Sender(net, HERE).send("http://hooks.test/", "msg_1", "{}", [SECRET], datetime.now(UTC))
    net.pass_s(seconds - 1)
    assert not sending.called

    answer = net.outcome(sending, within_s=2)

    assert (answer.status, answer.reason) == (None, "timeout")
    assert net.settle().getDelayedCalls() == []


def test_a_body_that_trickles_is_not_waited_for():
    net = Net()
    net.servers["127.0.0.1", 80] = saying(
        b"HTTP/1.1 204 OK\r\ncontent-length: 9\r\n\r\n".replace(b"204", b"202") + b"ab"
    )

    answer = net.outcome(
        Sender(net, HERE).send("http://127.0.0.1/", "msg_1", "{}", [SECRET], datetime.now(UTC)), within_s=6
    )

    assert (answer.status, answer.reason, answer.body) == (202, "", "ab")


def test_a_cancelled_message_closes_its_connection():
    net = Net()
    net.servers["127.0.0.1", 80] = saying(b"")
    sending = Sender(net, HERE).send("http://127.0.0.1/", "msg_1", "{}", [SECRET], datetime.now(UTC))
    net.pass_s(1)

    sending.cancel()

    with pytest.raises(CancelledError):
        net.outcome(sending)
    assert net.settle().getDelayedCalls() == []


def test_what_a_status_means():
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    later = "Sat, 21 Nov 2026 12:02:00 GMT"

    def told(status, **headers):
        answer = judged(status, Headers({name: [value] for name, value in headers.items()}), b"", 0.1, at)
        return answer.reason, answer.retry_after_s

    assert {told(status) for status in (200, 201, 204, 299)} == {("", 0.0)}
    assert told(410) == ("gone", 0.0)
    assert told(500) == told(404) == ("status", 0.0)
    assert told(301)[0] == told(304)[0] == "redirect"
    assert told(503, **{"retry-after": "120"}) == ("status", 120.0)
    assert told(429, **{"retry-after": later}) == ("status", 120.0)
    assert told(429, **{"retry-after": "9" * 30}) == ("status", 3_600.0)
    for nonsense in ("soon", "-5", "Sat, 21 Nov 2026 12:02:00", "1e9", "²"):
        assert told(503, **{"retry-after": nonsense})[1] <= 3_600
    assert told(500, **{"retry-after": "120"}) == ("status", 0.0)
    assert timedelta(seconds=told(429, **{"retry-after": "1"})[1]) == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("ftp://hooks.test/", "https://"),
        ("hooks.test", "https://"),
        ("https://", "host"),
        ("https://user:pass@hooks.test/", "password"),
        ("https://2130706433/", "number"),
        ("https://[::1]/", "IPv6"),
        ("https://hooks.test:99999/", "none"),
        ("https://hooks.test/#here", "#"),
        ("https://hooks.test/é", "ASCII"),
        ("https://hooks.test/a b", "ASCII"),
        ("https://hooks.test/\r\nx: y", "ASCII"),
        ("https://hooks.test/" + "a" * 200, "200"),
    ],
)
def test_a_url_that_cannot_be_told_is_refused(url, word):
    assert word in " ".join(url_mistakes(url))


def test_a_form_tells_all_its_mistakes_at_once():
    assert form("https://hooks.test/", (), "", "standard") == frozenset(Happening)
    assert form("https://hooks.test/", (), "", "pipe") == {Happening.RECORDING_PUSHED}
    assert Happening.UPLOAD_FAILED not in form("https://hooks.test/", (), "live", "standard")
    with pytest.raises(Mistakes) as caught:
        form("ftp://hooks.test/", ["upload.failed"], "live", "standard")
    assert len(caught.value.mistakes) == 2
    with pytest.raises(Mistakes, match="recording.pushed only"):
        form("https://hooks.test/", ["upload.failed"], "", "pipe")
