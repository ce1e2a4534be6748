"""One HTTP/1.1 connection on Twisted's HTTPChannel: stricter, bounded in time and size, and answered before the body.

A request is answered from the end of its header on, while its body still comes. What Twisted does by buffering whole
bodies, answering 100 Continue at once and closing hard is replaced here; parsing lines, chunks and lengths is its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.web import http

from conch_pipe.web.problems import Refused, refusal
from conch_pipe.web.request import Request

ABORT_S = 5.0  # from closing to cutting
LENGTH_DIGITS = 1000


class Channel(http.HTTPChannel):
    """One connection.

    :param site: the Site it belongs to.
    :param address: of the other end.
    """

    requestFactory: Any = Request
    transport: Any

    def __init__(self, site: Any, address: str, port: int) -> None:
        super().__init__()
        self.factory = self.site = site
        self.address = address
        self.port = port
        self.session = os.urandom(8).hex()
        self.timeOut = None  # of TimeoutMixin, which every byte sets back
        self._call_later: Callable[..., IDelayedCall] = site.clock.callLater
        limits = site.limits
        self.totalHeadersSize = limits.header_bytes
        self.MAX_LENGTH = limits.header_bytes
        self.maxHeaders = limits.header_lines
        self.served = 0
        self._idle = True
        self._over = False  # nothing that comes is looked at any more
        self._came = 0  # bytes of this body as they are on the wire; once it is over, of what was thrown away
        self._due: IDelayedCall | None = None
        self._stuck: IDelayedCall | None = None
        self._brought = 0  # by the body in this window
        self._was_held = False

    # Its life.

    def connectionMade(self) -> None:
        """Someone is there; with TLS, before the handshake."""
        super().connectionMade()
        self._after(self.site.limits.header_s, self._cut)

    def connectionLost(self, reason: Any = None) -> None:
        """The end."""
        self._cancel()
        self._unstick()
        self._over = True
        super().connectionLost(reason)
        self.site.left(self)

    @property
    def answering(self) -> bool:
        """A request is here, whole or in part."""
        return bool(self.requests)

    def loseConnection(self) -> None:
        """Close when all is written; cut it when the client does not let that happen."""
        self._over = True
        self._cancel()
        super().loseConnection()
        if self._abortingCall is None:
            self._abortingCall = self._call_later(ABORT_S, self.forceAbortClient)  # type: ignore[assignment]

    def forceAbortClient(self) -> None:
        """It did not close in time."""
        self._abortingCall = None
        self.transport.abortConnection()

    @property
    def waiting(self) -> bool:
        """The client has not taken what it was sent."""
        return bool(self._waitingForTransport)

    def leave(self) -> None:
        """Close unless a request is here."""
        if not self.requests:
            self.loseConnection()

    def linger(self) -> None:
        """The answer is sent, and the client may still be sending: cut now, it would lose the answer to a reset."""
        self._over = True
        self._after(self.site.limits.linger_s, self.loseConnection)

    # Bytes.

    def dataReceived(self, data: bytes) -> None:
        """What came."""
        if self._over:
            self._throw(data)
            return
        if self._idle:
            self._idle = False
            self._after(self.site.limits.header_s, self._late_header)
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """A line of a header."""
        if self._over:
            return
        if self.requests and line[:1] in (b" ", b"\t"):
            # A folded line: each server has its own idea of what it belongs to (RFC 9112 section 5.2).
            self.refuse(Refused("bad_request", "a header line must not begin with a space"))
            return
        super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        """One of them, whole. A length of thousands of digits is one that Python makes no number of."""
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value.strip()) > LENGTH_DIGITS:
            self.refuse(Refused("too_large", f"a request has at most {self.site.limits.body_bytes} bytes"))
            return False
        return bool(super().headerReceived(line))

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line longer than all of them may be."""
        self._receivedHeaderSize = self.totalHeadersSize + 1
        self._respondToBadRequestAndDisconnect()

    def rawDataReceived(self, data: bytes) -> None:
        """Of a body, or of the next request while this one is answered."""
        if self._over:
            self._throw(data)
            return
        if not self._handlingRequest:
            self._brought += len(data)
            self._came += len(data)
            if self._came > 2 * self.requests[-1].body.limit:  # chunks of next to nothing
                self._respondToBadRequestAndDisconnect()
                return
        super().rawDataReceived(data)

    def _throw(self, data: bytes) -> None:
        self._came += len(data)
        if self._came > 2 * self.site.limits.body_bytes and not self.transport.disconnecting:
            self.loseConnection()

    # Requests.

    def allHeadersReceived(self) -> None:
        """Answer from here on. Twisted would make a file for the body, and say 100 Continue to whatever comes."""
        self._cancel()
        request = self.requests[-1]
        if problem := self._header_problem(request):
            self.refuse(problem)
            return
        self.persistent = self.checkPersistence(request, self._version)
        self.served += 1
        self._brought = self._came = 0
        if self.length != 0:
            self._after(self.site.limits.slow_s, self._look_at_body)
        request.begin(self._command, self._path, self._version, self.length)

    def allContentReceived(self) -> None:
        """The body is complete."""
        if not self.requests or not self.requests[-1].begun:
            return  # refused for its header
        self._cancel()
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        """Answered, and all of it received."""
        self._idle = True
        if self.persistent:
            self._after(self.site.limits.idle_s, self._cut)
        super().requestDone(request)

    def _header_problem(self, request: Request) -> Refused | None:
        headers = request.requestHeaders
        hosts = headers.getRawHeaders(b"Host", [])
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1"):
            return Refused("bad_request", "exactly one Host header is needed")
        codings = headers.getRawHeaders(b"Transfer-Encoding", [])
        # Anything but this is read in different ways by different servers: requests are smuggled so.
        if codings and ([one.lower() for one in codings] != [b"chunked"] or self._version != b"HTTP/1.1"):
            return Refused("bad_request", "only chunked is understood as a Transfer-Encoding")
        expected = headers.getRawHeaders(b"Expect", [])
        if expected and [one.lower() for one in expected] != [b"100-continue"]:
            return Refused("expectation_failed", "only 100-continue can be expected")
        return None

    def refuse(self, refused: Refused) -> None:
        """Answer what never became a request, and take no other."""
        if self._over:
            return
        response = refusal(refused)
        assert response is not None
        status = http.RESPONSES.get(response.status, b"Refused")
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n"
            b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\r\n%s"
            % (response.status, status, len(response.body), response.body)
        )
        self.persistent = False
        self.length = 0
        self.site.refused(self, response.status)
        self.linger()

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self.requests and self.requests[-1].begun:  # in the midst of a body
            self._over = True
            self.requests[-1].body.fail(Refused("bad_request", "the chunks of the body cannot be understood"))
        elif self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            limits = self.site.limits
            what = f"at most {limits.header_bytes} bytes in {limits.header_lines} header lines are taken"
            self.refuse(Refused("headers_too_large", what))
        else:
            self.refuse(Refused("bad_request", "this is not HTTP/1.1 as RFC 9112 has it"))

    # Time.

    def _late_header(self) -> None:
        self._due = None
        self.refuse(Refused("timeout", "the header did not come in time"))

    def _look_at_body(self) -> None:
        """Does it come fast enough? Time in which we did not read is not the client's."""
        self._due = None
        request, limits = self.requests[-1], self.site.limits
        excused = self._was_held or request.body.held
        if self._brought < limits.slow_s * limits.slow_rate and not excused:
            request.body.fail(Refused("timeout", f"less than {limits.slow_rate} bytes a second came"))
            return
        self._brought, self._was_held = 0, request.body.held
        self._after(limits.slow_s, self._look_at_body)

    def hold(self, held: bool) -> None:
        """Stop reading the body, or go on."""
        self._was_held = True
        if held:
            self._networkProducer.pauseProducing()
        elif not self._waitingForTransport:
            self._networkProducer.resumeProducing()

    def pauseProducing(self) -> None:
        """The client does not take what we send."""
        super().pauseProducing()
        if self._stuck is None:
            self._stuck = self._call_later(self.site.limits.unread_s, self._cut)

    def resumeProducing(self) -> None:
        """It does again."""
        self._unstick()
        super().resumeProducing()
        if self.requests and self.requests[-1].begun and self.requests[-1].body.held:
            self._networkProducer.pauseProducing()

    def _cut(self) -> None:
        """Nothing was asked, or nothing is taken: there is nobody to tell."""
        self._cancel()
        self._unstick()
        self.transport.abortConnection()

    def _after(self, seconds: float, call: Callable[[], object]) -> None:
        self._cancel()
        self._due = self._call_later(seconds, call)

    def _cancel(self) -> None:
        due, self._due = self._due, None
        if due is not None and due.active():
            due.cancel()

    def _unstick(self) -> None:
        stuck, self._stuck = self._stuck, None
        if stuck is not None and stuck.active():
            stuck.cancel()
