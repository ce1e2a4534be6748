"""Keys from outside: private ones in every form that people have, and host keys as people paste them."""

from conch_pipe.ssh.keys.errors import KeyRefused, Reason
from conch_pipe.ssh.keys.pasted import public_blob
from conch_pipe.ssh.keys.private import KINDS, PrivateKey, generate
from conch_pipe.ssh.keys.public import algorithm, fingerprint
from conch_pipe.ssh.keys.reading import read

__all__ = [
    "KINDS",
    "KeyRefused",
    "PrivateKey",
    "Reason",
    "algorithm",
    "fingerprint",
    "generate",
    "public_blob",
    "read",
]
