"""The Upload API as a client has it: a login, a file that streams, questions. With the standard library alone.

Follows no redirects and knows no proxies: a token goes to the server that was named. Prints nothing.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from conch_pipe.errors import Code, PipeError

LONGEST_WAIT_S = 60.0  # that one answer may take, as the API has it
PATIENCE_S = 60.0  # for an answer, and for each piece of a file to be taken
ANSWER_BYTES = 16 << 20
BLOCK = 1 << 18
KINDS = {".json": "application/json"}  # else CSV


class Refused(Exception):
    """The API's refusal, in its own words.

    :ivar status: of HTTP.
    """

    def __init__(self, status: int, code: str, message: str, mistakes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Place:
    """Where the API is.

    :ivar url: ``https://api.example.com``, perhaps with a path that the API is below.
    :ivar authorities: PEM file of those who may vouch for it; None: the system's.
    :ivar certificate: PEM file of the very certificate it must show, whatever names are in it.
    """

    url: str
    authorities: Path | None = None
    certificate: Path | None = None


def is_local(url: str) -> bool:
    """Whether what is sent there stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Api:
    """One client on one connection.

    :raises PipeError: INVALID, the place is none; of every request: BUSY, nobody answers, or the answer was lost;
        FAILED, it cannot be trusted or is no Upload API.
    :raises Refused: of every request.
    """

    def __init__(self, place: Place) -> None:
        try:
            parts = urlsplit(place.url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.username:
            raise PipeError(Code.INVALID, "the address begins with https:// or http:// and a host")
        self._place = place
        self._base = parts.path.rstrip("/")
        self._token = ""
        self._connection: HTTPConnection
        if parts.scheme == "https":
            self._connection = HTTPSConnection(host, port, timeout=PATIENCE_S, blocksize=BLOCK, context=_context(place))
        else:
            self._connection = HTTPConnection(host, port, timeout=PATIENCE_S, blocksize=BLOCK)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def login(self, client_id: str, client_secret: str) -> dict[str, Any]:
        """Log in; later requests have the token. :returns: as the API tells it, with the token."""
        body = json.dumps({"client_id": client_id, "client_secret": client_secret}).encode()
        told = self._ask("POST", "/auth/token", body=body, headers={"Content-Type": "application/json"})
        self.use(str(told["access_token"]))
        return told

    def use(self, token: str) -> None:
        """Later requests have this token."""
        self._token = token

    def upload(self, file: IO[bytes], name: str, size: int, schema: str, key: str, wait_s: float) -> dict[str, Any]:
        """Send a file, piece by piece.

        :param size: bytes of the file from here on.
        :param key: the idempotency key; empty: none.
        """
        query = {"schemaType": schema, "fileName": name} | ({"wait": f"{wait_s:g}"} if wait_s else {})
        headers = {"Content-Type": KINDS.get(Path(name).suffix.lower(), "text/csv"), "Content-Length": str(size)}
        if key:
            headers["Idempotency-Key"] = key
        return self._ask("POST", "/upload", query, file, headers, within_s=wait_s)

    def status(self, upload_id: str, *, wait_s: float = 0, page: int = 1) -> dict[str, Any]:
        """How it went with one file."""
        query = ({"wait": f"{wait_s:g}"} if wait_s else {}) | ({"page": str(page)} if page > 1 else {})
        return self._ask("GET", f"/upload/{quote(upload_id, safe='')}/status", query, within_s=wait_s)

    def uploads(self, **filters: str) -> dict[str, Any]:
        """A page of the organisation's files."""
        return self._ask("GET", "/uploads", filters)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] = {},
        body: Any = None,
        headers: Mapping[str, str] = {},
        within_s: float = 0,
    ) -> dict[str, Any]:
        target = f"{self._base}/api/external{path}" + (f"?{urlencode(query)}" if query else "")
        whole = {"Accept": "application/json", "User-Agent": "conch-pipe", **headers}
        if self._token:
            whole["Authorization"] = f"Bearer {self._token}"
        self._connect()
        self._connection.sock.settimeout(PATIENCE_S + within_s)
        try:
            # Refused before all of it was sent, it is the answer that says why.
            with suppress(BrokenPipeError, ConnectionResetError):
                self._connection.request(method, target, body, whole)
            answer = self._connection.getresponse()
            data = answer.read(ANSWER_BYTES)
        except (OSError, HTTPException) as error:
            self.close()
            lost = "the connection ended without an answer, so nothing is known: try again, with the same key"
            raise PipeError(Code.BUSY, lost) from error
        return _understood(answer.status, data)

    def _connect(self) -> None:
        if self._connection.sock is not None:
            return
        url = self._place.url
        try:
            self._connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise PipeError(Code.FAILED, f"the certificate of {url} is not trusted: {error.verify_message}") from error
        except OSError as error:
            raise PipeError(Code.BUSY, f"nothing answers at {url}: {error.strerror or error}") from error
        wanted = self._place.certificate
        if wanted is not None and isinstance(self._connection.sock, ssl.SSLSocket):
            shown = self._connection.sock.getpeercert(binary_form=True)
            if shown != ssl.PEM_cert_to_DER_cert(_first(wanted.read_text())):
                self.close()
                raise PipeError(Code.FAILED, f"{url} shows another certificate than {wanted}")


def _context(place: Place) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=place.certificate or place.authorities)
    except (OSError, ssl.SSLError) as error:
        raise PipeError(Code.INVALID, f"{place.certificate or place.authorities}: not certificates: {error}") from error
    if place.certificate is not None:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _first(text: str) -> str:
    """Of several certificates the server's own."""
    end = "-----END CERTIFICATE-----"
    head, found, _ = text.partition(end)
    return head[head.index("-----BEGIN") :] + found


def _understood(status: int, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
        if 200 <= status < 300:
            if not isinstance(document, dict):
                raise TypeError("not an object")
            return document
        error = document["error"]
        mistakes = tuple(str(one) for one in error.get("mistakes") or ())
        raise Refused(status, str(error["code"]), str(error["message"]), mistakes)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PipeError(Code.FAILED, f"the answer, {status}, is not one of an Upload API") from None
