"""What is wrong with a key. No text here holds anything of the key or its passphrase."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "empty",  # nothing but space
    "not_a_key",  # something else
    "public",  # the public half, or a certificate, where the private one is needed
    "private",  # the private half where the public one is needed
    "fingerprint",  # of a key, not the key
    "several",  # more than one where one is needed
    "passphrase_missing",
    "passphrase_wrong",
    "too_costly",  # the file wants more work for its passphrase than we do
    "too_large",  # the file or the key
    "too_weak",
    "unsupported",  # a key, but not of a kind or form that is used here
    "damaged",
]


class KeyRefused(Exception):
    """A key cannot be used.

    :param reason: one stable word for programs.
    :param words: a short sentence for whoever gave the key.
    """

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(reason, words)
        self.reason = reason
        self.words = words

    def __str__(self) -> str:
        return self.words
