"""The text round a key: lines, blocks between BEGIN and END, base64. Tolerant of what editors and mail programs do.

Byte order marks, any line ends, blank lines and space at both ends of lines are read past. Every pass is linear.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.keys.errors import KeyRefused

LONGEST = 65_536  # bytes of a file; an RSA key of 16,384 bits has 13 KB

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")  # Windows PowerShell's ">" writes it
_BEGIN, _END = b"-----BEGIN ", b"-----END "
_SSH2_BEGIN, _SSH2_END = b"---- BEGIN ", b"---- END "


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between BEGIN and END.

    :param label: e.g. ``RSA PRIVATE KEY``.
    :param ssh2: four hyphens and a space, RFC 4716; else PEM.
    """

    label: bytes
    ssh2: bool
    headers: dict[bytes, bytes]  # names in lower case
    body: bytes


def check_size(data: bytes) -> None:
    """It is not too large to be looked at.

    :raises KeyRefused: it is.
    """
    if len(data) > LONGEST:
        raise KeyRefused("too_large", "the file is too large for a key")


def plain(data: bytes) -> bytes:
    """The same without a byte order mark, in UTF-8.

    :raises KeyRefused: too large or empty.
    :raises Malformed: UTF-16 that is none.
    """
    check_size(data)
    if data.startswith(_UTF16_MARKS):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeError:
            raise Malformed("no text") from None
    data = data.removeprefix(_UTF8_MARK)
    if not data.strip():
        raise KeyRefused("empty", "there is no key: the text is empty")
    return _unfolded(data)


def _unfolded(data: bytes) -> bytes:
    """A PEM block whose line ends became spaces (a form's field) or ``\\n`` (JSON, an environment variable)."""
    if len(data.strip().splitlines()) > 1 or _BEGIN not in data:
        return data
    _, _, rest = data.replace(b"\\r", b"").replace(b"\\n", b"\n").partition(_BEGIN)
    name, _, rest = rest.partition(b"-----")
    body, end, _ = rest.partition(_END)
    if not end:
        return data
    rows = body.splitlines() if b"\n" in body else body.split()
    return b"\n".join((_BEGIN + name + b"-----", *rows, _END + name + b"-----"))


def lines(data: bytes) -> list[bytes]:
    """Lines without space at their ends, and without the empty ones before the first."""
    return data.strip().splitlines()


def base64(text: bytes) -> bytes:
    """What base64 says; nothing but its alphabet and the right padding.

    :raises Malformed: it is none.
    """
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise Malformed("no base64") from None


def label(line: bytes) -> tuple[bytes, bool] | None:
    """What begins in this line, and whether it is of RFC 4716; None: nothing."""
    line = line.strip()
    if line.startswith(_BEGIN) and line.endswith(b"-----"):
        return line[len(_BEGIN) : -5].strip(), False
    if line.startswith(_SSH2_BEGIN) and line.endswith(b"----"):
        return line[len(_SSH2_BEGIN) : -4].strip(), True
    return None


def blocks(data: bytes) -> list[Block]:
    """All blocks, in their order; text between them is read past.

    :raises Malformed: one has no end.
    """
    found: list[Block] = []
    content: list[bytes] = []
    begun: tuple[bytes, bool] | None = None
    for line in lines(data):
        bare = line.strip()
        if begun is None:
            begun, content = label(bare), []
        elif bare.startswith(_SSH2_END if begun[1] else _END):
            found.append(_block(*begun, content))
            begun = None
        else:
            content.append(bare)
    if begun is not None:
        raise Malformed("the end is missing")
    return found


def _block(name: bytes, ssh2: bool, content: list[bytes]) -> Block:
    headers: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        head, colon, value = content[at].partition(b":")
        if not colon and content[at]:
            break
        at += 1
        if not colon:
            continue
        parts = [value]
        while parts[-1].endswith(b"\\") and at < len(content):  # RFC 4716 section 3.3
            parts[-1] = parts[-1][:-1]
            parts.append(content[at])
            at += 1
        headers[head.strip().lower()] = b"".join(parts).strip()
    return Block(name, ssh2, headers, b"".join(content[at:]))
