"""What one connection, one address and all of them may use over HTTP. Sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The defaults fit every common client.

    :source: reliability.md section 6.3.
    """

    connections: int = 200
    per_address: int = 20  # of one IPv4 address or IPv6 /64; those that forward for others are not counted
    header_bytes: int = 16_384  # request line and all header lines
    header_lines: int = 100
    header_s: float = 10  # from the first byte of a request, or from accepting, to the end of its header
    idle_s: float = 60  # between two requests
    requests: int = 1000  # on one connection
    body_bytes: int = 105_906_176  # of a request: the largest file and 1 MiB for what is around it
    recording_bytes: int = 20 << 30  # of a request with the files of a recording
    document_bytes: int = 16_384  # of a body that is JSON or a form of fields
    held_bytes: int = 65_536  # of a file that came before the field that says what it is
    slow_s: float = 30  # a body must bring in each such time …
    slow_rate: int = 1024  # … so many bytes a second
    unread_s: float = 30  # an answer the client does not take
    linger_s: float = 2  # from an early answer to closing: what still comes is thrown away
    wait_s: float = 60  # the longest ?wait
