"""All that an exception could say about a key: its text, its causes', and the local names of our frames."""

from __future__ import annotations

import traceback

_PIECE = 20  # characters of a secret that count as a leak; "ssh-ed25519 AAAA" is in our own words


def spoken(error: BaseException) -> str:
    """What logs, tracebacks with local names and debuggers can show, but for the lines of source, which are ours."""
    said: list[str] = []
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        said += [str(one), repr(one), repr(one.args), repr(vars(one)), *traceback.format_exception_only(one)]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "conch_pipe" in frame.f_code.co_filename:
                said.append(repr(frame.f_locals))
        waiting += [one.__cause__, one.__context__]
    return "\n".join(said)


def leaks(error: BaseException, *secrets: bytes) -> list[str]:
    """Pieces of the secrets that are in what an exception says, as they are or in hexadecimal digits."""
    said = spoken(error)
    pieces = {said[at : at + _PIECE] for at in range(len(said) - _PIECE + 1)}
    texts = [secret.decode("latin-1") for secret in secrets] + [secret.hex() for secret in secrets]
    return [
        text[at : at + _PIECE]
        for text in texts
        for at in range(len(text) - _PIECE + 1)
        if text[at : at + _PIECE] in pieces
    ]
