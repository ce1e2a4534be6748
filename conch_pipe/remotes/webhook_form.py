"""What an operator asks of a webhook, judged before it is recorded: all mistakes at once."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from conch_pipe.errors import Mistakes
from conch_pipe.model import LONGEST_URL, OF_ENVIRONMENTS, Happening, Shape
from conch_pipe.remotes.addresses import host_mistake


def judged(url: str, events: Iterable[str], environment: str, shape: str) -> frozenset[Happening]:
    """What it is told of.

    :param events: types; none: all that fit the environment and the shape.
    :raises Mistakes: with all that is wrong.
    """
    mistakes = url_mistakes(url)
    wanted = {Happening(one) for one in events}
    fitting = set(OF_ENVIRONMENTS) if environment else set(Happening)
    if shape == Shape.PIPE.value:
        fitting &= {Happening.RECORDING_PUSHED}
        if wanted - fitting:
            mistakes.append("shape: pipe is for recording.pushed only")
    elif wanted - fitting:
        names = ", ".join(sorted(one.value for one in wanted - fitting))
        mistakes.append(f"event: {names} belongs to no environment")
    if mistakes:
        raise Mistakes("webhook", mistakes)
    return frozenset(wanted or fitting)


def url_mistakes(url: str) -> list[str]:
    """What is wrong with a webhook's URL as it is written. Not what its host's address will turn out to be."""
    if len(url) > LONGEST_URL:
        return [f"url: {len(url)} characters, at most {LONGEST_URL} are taken"]
    if not url.isascii() or not url.isprintable() or " " in url:
        return ["url: only printable ASCII; write other scripts as xn--… and %…"]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ["url: it is none"]
    mistakes = []
    if parts.scheme not in ("https", "http"):
        mistakes.append("url: begins with https://")
    if parts.username is not None or parts.password is not None:
        mistakes.append("url: a user name or password would be kept in plain text; check the signature instead")
    if parts.fragment:
        mistakes.append("url: what follows # is never sent")
    if port == 0:
        mistakes.append("url: port 0 is none")
    if (mistake := host_mistake(parts.hostname or "")) is not None:
        mistakes.append(f"url: the host {mistake}")
    return mistakes
