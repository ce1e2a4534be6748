"""One request: what was asked, by whom, with a body that streams; and its answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

from twisted.internet.defer import CancelledError, Deferred
from twisted.web import http

from conch_pipe.errors import PipeError
from conch_pipe.model import Actor, Peer
from conch_pipe.web.body import Body
from conch_pipe.web.outflow import Outflow
from conch_pipe.web.problems import Gone, Refused, refusal
from conch_pipe.web.responses import Response

QUERY_FIELDS = 50
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Request(http.Request):
    """Made by the Channel at the request line, begun at the end of the header.

    :ivar body: a Body.
    :ivar peer: who asks: the other end, or whom it forwards for.
    :ivar query: the fields of the query, the last of each name; UTF-8.
    :ivar route: what the path stands for, for the event; never what a client wrote.
    :ivar secure: whether who asks speaks TLS, be it with a proxy of ours; also known when they are gone.
    :ivar actor: the person who has signed in, as soon as that is known.
    :ivar more_than_a_look: somebody of the operator's asks for what not everybody may: it is told who.
    """

    channel: Any
    body: Body
    peer: Peer

    def __init__(self, channel: Any, queued: object = 0) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self.begun = False
        self.route = "-"
        self.client_id = ""
        self.secure = False
        self.actor: Actor | None = None
        self.more_than_a_look = False
        self.query: dict[str, str] = {}
        self.site = channel.site
        self._received_all = False
        self._began_at = 0.0
        self._outflow: Outflow | None = None

    # What the channel says.

    def begin(self, method: bytes, target: bytes, version: bytes, length: int | None) -> None:
        """The header is complete; ``length`` is as for Body."""
        self.begun = True
        self.method, self.uri, self.clientproto = method, target, version
        self._began_at = self.site.clock.seconds()
        self.peer, self.secure = self.site.peer(self), self.site.secure(self)
        self.body = Body(length, self.site.limits.body_bytes, self._say_continue, self.channel.hold)
        answering = Deferred.fromCoroutine(self._answer(length))
        answering.addErrback(lambda failure: self._log.failure("a request was not answered", failure))

    def gotLength(self, length: int | None) -> None:
        """Twisted would make a file here."""

    def handleContentChunk(self, data: bytes) -> None:
        """Bytes of the body."""
        self.body.feed(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        self._received_all = True
        if self.finished:
            super()._cleanup()
        else:
            self.body.end()

    def connectionLost(self, reason: Any) -> None:
        """There is nobody to answer."""
        if self.begun:
            self.body.fail(Gone("the connection was lost"))
            if not self.finished:
                self.site.told(self, 0, self._seconds())
        super().connectionLost(reason)
        if self._outflow is not None:
            self._outflow.stopProducing()

    # What views ask.

    @property
    def gone(self) -> bool:
        """Nobody waits for the answer any more."""
        return self._disconnected

    def header(self, name: str) -> str:
        """The value of a header, without space around it; empty when it is not there.

        :raises Refused: it is there more than once.
        """
        values = self.requestHeaders.getRawHeaders(name.encode(), [])
        if len(values) > 1:
            raise Refused("bad_request", f"the header {name} is there more than once")
        return values[0].decode("utf-8", "backslashreplace").strip() if values else ""

    def cookie(self, name: str) -> str:
        """The value of a cookie; empty when it is not there, or there with two values.

        :source: RFC 6265 section 5.4.
        """
        lines = self.requestHeaders.getRawHeaders(b"Cookie", [])
        pairs = [one.partition(b"=") for line in lines for one in line.split(b";")]
        found = {value.strip() for key, _, value in pairs if key.strip() == name.encode()}
        return found.pop().decode("ascii", "replace") if len(found) == 1 else ""

    def allow(self, size: int) -> None:
        """So many bytes its body may have. :raises Refused: too_large, it says that it has more."""
        self.body.limit = size
        if self.body.length is not None and self.body.length > size:
            raise Refused("too_large", f"a request has at most {size} bytes here")

    # The answer.

    async def _answer(self, length: int | None) -> None:
        response: Response | None
        try:
            try:
                self._read_target()
            except Refused:
                self.channel.persistent = False  # who knows what comes next
                raise
            response = await self.site.answer(self)
        except (Gone, CancelledError):
            return
        except Exception as error:  # noqa: BLE001 - the door's edge
            response = refusal(error)
        if self._disconnected:
            if response is not None and response.pieces is not None:
                response.pieces.close()
            return
        if response is None:
            self.site.told(self, 0, self._seconds())
            self.channel.transport.abortConnection()
            return
        self._respond(response)
        if response.pieces is not None:
            await self._send(response)

    def _read_target(self) -> None:
        target = self.uri
        if not all(33 <= one <= 126 for one in target):
            raise Refused("bad_request", "the target of the request must be printable ASCII")
        if target[:1] != b"/":
            scheme, colon, rest = target.partition(b"://")
            if colon and scheme.lower() in (b"http", b"https"):  # RFC 9112 section 3.2.2
                target = b"/" + rest.partition(b"/")[2]
            elif target == b"*" and self.method == b"OPTIONS":
                target = b"/"
            else:
                raise Refused("bad_request", "the target of a request begins with /")
        path, _, query = target.decode("ascii").partition("?")
        self.path = unquote(path, errors="replace").encode()
        try:
            self.query = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS, errors="strict"))
        except ValueError:
            raise Refused("bad_request", f"the query must be at most {QUERY_FIELDS} fields of UTF-8") from None
        if self.header("Content-Encoding").lower() not in ("", "identity"):
            raise Refused("unsupported_media_type", "bodies are taken as they are, without a Content-Encoding")

    def _respond(self, response: Response) -> None:
        self.body.drop()
        channel, headers = self.channel, self.responseHeaders
        for name, value in SECURITY.items():
            headers.setRawHeaders(name, [value])
        if channel.isSecure():
            headers.setRawHeaders("Strict-Transport-Security", ["max-age=31536000"])
        headers.setRawHeaders("Date", [http.datetimeToString(self.site.clock.seconds())])
        headers.setRawHeaders("X-Request-Id", [f"{channel.session}-{channel.served}"])
        if response.pieces is not None:
            headers.setRawHeaders("Content-Type", [response.media_type])
            headers.setRawHeaders("Content-Length", [str(response.pieces.size)])
        elif response.body or response.status not in http.NO_BODY_CODES:
            headers.setRawHeaders("Content-Type", [response.media_type])
            headers.setRawHeaders("Content-Length", [str(len(response.body))])
        for name, value in response.headers.items():
            headers.setRawHeaders(name, [value])
        last = self.site.draining or channel.served >= self.site.limits.requests
        if last or not self.body.complete or not channel.persistent:
            channel.persistent = False
            headers.setRawHeaders("Connection", ["close"])
        self.setResponseCode(response.status)
        if response.pieces is None:
            self._end(response, response.body)

    async def _send(self, response: Response) -> None:
        """A body in pieces; what cannot be sent to its end cannot be taken back, so the connection is cut."""
        self._outflow = outflow = Outflow(response.pieces, self.channel.waiting)
        self.registerProducer(outflow, True)
        try:
            while self.method != b"HEAD" and (piece := await outflow.next()):
                self.write(piece)
        except Exception as error:  # noqa: BLE001 - the door's edge
            if isinstance(error, PipeError):
                self._log.error("an answer was cut short: {problem}", problem=str(error))
            else:
                self._log.failure("an answer was cut short")
            if not self._disconnected:
                self.channel.transport.abortConnection()
            return
        finally:
            response.pieces.close()
            if not self._disconnected:
                self.unregisterProducer()
        if not self._disconnected:
            self._end(response)

    def _end(self, response: Response, body: bytes = b"") -> None:
        self.site.told(self, response.status, self._seconds())
        self.write(body)
        self.finish()

    def _seconds(self) -> float:
        return float(self.site.clock.seconds() - self._began_at)

    def _cleanup(self) -> None:
        if self._received_all:
            super()._cleanup()
        elif not self.body.complete:
            self.channel.linger()
        # else there is no body, and requestReceived is the channel's next call

    def _say_continue(self) -> None:
        """Somebody wants the body now."""
        if self.requestHeaders.hasHeader(b"Expect") and not self.startedWriting and not self._disconnected:
            self.channel.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
