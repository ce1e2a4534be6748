"""Text of a partner's file made fit for a message: short, printable, on one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

SHOWN = 80  # characters of a value in a problem


def shown(text: str, most: int = SHOWN) -> str:
    """The beginning of a value with everything unprintable escaped; never longer than ``most`` characters."""
    parts: list[str] = []
    room = most
    for character in text:
        part = character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        if len(part) > room:
            break
        parts.append(part)
        room -= len(part)
    return "".join(parts)


def plain(text: str) -> str:
    """The same in ASCII, for answers on the wire."""
    return text.encode("ascii", "backslashreplace").decode()


def listed(names: Iterable[str], most: int = 8) -> str:
    """``a, b and c``; more than ``most`` are counted, not named."""
    names = [shown(name, 64) for name in names]
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part) if names else ""


def close(name: str, names: Sequence[str]) -> str | None:
    """The one of ``names`` that was probably meant."""
    # Only the first: a hostile header has 2,000 names, and each comparison costs.
    folded = {one.casefold()[:64]: one for one in names[:200]}
    found = difflib.get_close_matches(name.casefold(), list(folded), 1, 0.7)
    return folded[found[0]] if found else None
