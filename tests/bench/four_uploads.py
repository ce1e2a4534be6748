"""Four puts at once by four OpenSSH clients, otherwise as in big_upload; the floor is for OpenSSH's server."""

from __future__ import annotations

from pathlib import Path

from tests.bench import big_upload

BYTES = 256_000_000
AT_ONCE = 4
ROOM = big_upload.ROOM
FLOORS = {("OpenSSH sshd", cipher): 1.8 for cipher in big_upload.CIPHERS}


def run(folder: Path, rounds: int = 5, size: int = BYTES) -> str:
    """:returns: the table."""
    return big_upload.uploads(folder, rounds, size, AT_ONCE, FLOORS)
