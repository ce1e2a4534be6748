"""The certificate and key of the HTTP door, from PEM files, and fresh ones taken up when the files change.

TLS 1.2 and later. A new certificate that cannot be used leaves the old one in force.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from zope.interface import implementer

from conch_pipe import events
from conch_pipe.errors import Code, PipeError
from conch_pipe.interfaces import IEvents

_LONGEST_FILE = 1 << 20


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """What connections are made with.

    :param certificate: file of the certificate, with those between it and the authority after it.
    :param key: file of its private key, without a passphrase; may be the same file.
    """

    def __init__(self, certificate: Path, key: Path, events: IEvents) -> None:
        self._certificate = certificate
        self._key = key
        self._events = events
        self._context: Any = None
        self._seen = b""
        self._trouble = ""

    def load(self) -> None:
        """At start. :raises PipeError: INVALID, the files cannot be used."""
        texts = self._read()
        self._take(texts)
        self._seen = _digest(texts)

    def look(self) -> None:
        """Take up what is in the files now, if it has changed. Never fails: trouble is told, once."""
        try:
            texts = self._read()
            seen = _digest(texts)
            if seen != self._seen:
                self._take(texts)
                self._seen = seen
        except PipeError as error:
            trouble = str(error)
            if trouble != self._trouble:
                self._events.note(events.WEB_CERTIFICATE_REFUSED, reason=trouble)
            self._trouble = trouble
        else:
            self._trouble = ""

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """See IOpenSSLServerConnectionCreator."""
        return SSL.Connection(self._context, None)

    def _read(self) -> tuple[bytes, bytes]:
        try:
            with self._certificate.open("rb") as chain, self._key.open("rb") as key:
                return chain.read(_LONGEST_FILE), key.read(_LONGEST_FILE)
        except OSError as error:
            raise _unusable(f"{error.filename}: {error.strerror}") from error

    def _take(self, texts: tuple[bytes, bytes]) -> None:
        try:
            chain: Any = x509.load_pem_x509_certificates(texts[0])
            key: Any = load_pem_private_key(texts[1], None)
            # Twisted declares pyOpenSSL's own classes, which pyOpenSSL itself calls deprecated.
            options = CertificateOptions(
                privateKey=key,
                certificate=chain[0],
                extraCertChain=chain[1:],
                raiseMinimumTo=TLSVersion.TLSv1_2,
                acceptableProtocols=[b"http/1.1"],
            )
            if key.public_key() != chain[0].public_key():
                raise _unusable("the key is not the certificate's")
            context = options.getContext()
        except (ValueError, TypeError, SSL.Error, crypto.Error) as error:
            raise _unusable(f"{self._certificate}, {self._key}: {error}") from error
        self._context = context
        self._events.note(
            events.WEB_CERTIFICATE,
            names=", ".join(_names(chain[0])),
            until=chain[0].not_valid_after_utc.isoformat(),
        )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [certificate.subject.rfc4514_string()]
    return [str(one.value) for one in found]


def _digest(texts: tuple[bytes, bytes]) -> bytes:
    return hashlib.sha256(b"\0".join(texts)).digest()


def _unusable(trouble: str) -> PipeError:
    return PipeError(Code.INVALID, f"http.certificate, http.key: {trouble}")
