"""Host keys told to clients after login, and the proof that we have them: how partners learn a new key in time.

Sans-IO. The order of the keys, which sign and which are on their way out, is the operator's (see offers.py).

:source: OpenSSH PROTOCOL section 2.5.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.fields import Reader, string
from conch_pipe.ssh.server.hostkeys import signers
from conch_pipe.ssh.transport.signatures import LONGEST_KEY

ANNOUNCEMENT, PROOF = b"hostkeys-00@openssh.com", b"hostkeys-prove-00@openssh.com"
_UNDERSTAND_IT = ("SSH-2.0-OpenSSH_", "SSH-2.0-AsyncSSH_")
_RSA = (b"rsa-sha2-512", b"rsa-sha2-256")


def understands(banner: str) -> bool:
    """Whether a client learns keys; others would ignore it, but for those that never saw a global request."""
    return banner.startswith(_UNDERSTAND_IT)


class Announced:
    """All host keys of a server.

    :param keys: private, whether or not they sign key exchanges.
    :ivar request: the payload of the GLOBAL_REQUEST that tells them.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self._signers = {found[0].blob: {one.algorithm: one for one in found} for found in map(signers, keys)}
        self.request = string(ANNOUNCEMENT) + b"\0" + b"".join(map(string, self._signers))

    def prove(self, reader: Reader, session_id: bytes, rsa_algorithm: bytes) -> tuple[bytes, list[str]] | None:
        """Sign for a client that asks whether keys are ours.

        :param reader: at the keys it asks for.
        :param rsa_algorithm: by which RSA keys sign: see :func:`rsa_algorithm`.
        :returns: the payload of REQUEST_SUCCESS and the keys' fingerprints; None: no key, one that is not ours, or one
            twice, so that nobody can have more signed than we have keys.
        :raises Malformed: it does not end where it must.
        """
        asked: list[bytes] = []
        while reader.left:
            asked.append(reader.string(LONGEST_KEY))
            if len(asked) > len(self._signers):
                return None
        if not asked or len(set(asked)) < len(asked) or not self._signers.keys() >= set(asked):
            return None
        answer, fingerprints = [], []
        for blob in asked:
            known = self._signers[blob]
            signer = known.get(rsa_algorithm) or next(iter(known.values()))
            answer.append(string(signer.sign(string(PROOF) + string(session_id) + string(blob))))
            fingerprints.append(signer.fingerprint)
        return b"".join(answer), fingerprints


def rsa_algorithm(agreed: bytes, offered: Sequence[bytes]) -> bytes:
    """By which algorithm RSA keys prove themselves: as in the key exchange when that was RSA, else what the client has.

    :param agreed: the host key algorithm of the key exchange; OpenSSH takes no other than an RSA one of it.
    :param offered: the client's host key algorithms.
    """
    if agreed in _RSA:
        return agreed
    return next((name for name in _RSA if name in offered), _RSA[0])
