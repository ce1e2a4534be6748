"""What kind of bytes a file is made of: encoding, compression, line ends. Standard library only.

The quick checks at CLOSE look at the first block, the full check at every byte, with the same words.
"""

from __future__ import annotations

import codecs
import hashlib
import mmap
import re
from dataclasses import dataclass
from pathlib import Path

BOM = codecs.BOM_UTF8
BLOCK = 1 << 20
# A \u escape that is half of a pair. Every escape is consumed in turn, so \\ud800 (an escaped backslash) is none.
_SURROGATE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F])|[^u]|u(?![dD][89a-fA-F]))",
    re.DOTALL,
)
_DIGITS = 4000
_RUN = re.compile(rb"[0-9]{%d}" % (_DIGITS + 1))
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
)


def format_of(name: str) -> str | None:
    """ "csv" or "json" by the end of a file's name in any case, else None."""
    lowered = name.lower()
    return "csv" if lowered.endswith(".csv") else "json" if lowered.endswith(".json") else None


def foreign(head: bytes) -> str | None:
    """Why the first bytes (4 or more, or the whole file) are no UTF-8 text at all, or None."""
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "the file is compressed (bzip2), send it as it is"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            if name == "zip" and (b"[Content_Types].xml" in head or b"xl/" in head):
                return "the file is an Excel workbook, save it as CSV UTF-8"
            return f"the file is compressed ({name}), send it as it is"
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "the file is an Excel workbook, save it as CSV UTF-8"
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "the file is UTF-32, save it as UTF-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "the file is UTF-16, save it as UTF-8"
    nulls = [place for place, byte in enumerate(head[:4]) if byte == 0]
    if nulls and len(head) >= 4:
        return f"the file looks like {'UTF-32' if len(nulls) > 2 else 'UTF-16'}, save it as UTF-8"
    return None


def is_text(head: bytes) -> bool:
    """Whether the first bytes may go to a CSV parser at all: UTF-8 without NUL. A cut last character is no matter."""
    if foreign(head) is not None or b"\0" in head:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def not_utf8(error: UnicodeDecodeError, at: int) -> str:
    """The words for a byte that is not UTF-8; ``at`` is its offset in the file."""
    return f"byte {at + 1} of the file (0x{error.object[error.start]:02X}) is not UTF-8, save the file as UTF-8"


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over all bytes found."""

    sha256: str
    size: int
    breaks: int  # line breaks: \n, or \r in a file that has no \n in its first block
    reason: str | None = None  # why the file cannot be text of ours
    line: int | None = None
    blanks: bool = False  # perhaps there are blanks between a quote and the comma beside it


def scan(path: Path, *, lines: bool, longest_line: int) -> Scan:
    """Read a file once: digest, strict UTF-8, NUL, the longest line.

    :param lines: look at line lengths (CSV; JSON may well be one line).
    :param longest_line: bytes.
    """
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    size = breaks = since = 0
    reason: str | None = None
    line: int | None = None
    blanks = False
    before = b"\n"
    end = b"\n"
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            if reason is None:
                if size == 0:
                    reason = foreign(block)
                    end = b"\r" if b"\n" not in block and b"\r" in block else b"\n"
                if reason is None:
                    reason, at = _bad_bytes(decoder, block, size)
                    if reason is not None:
                        line = breaks + block.count(end, 0, max(0, at - size)) + 1 if lines else None
                if lines and not blanks and reason is None:
                    blanks = _blanks_by_quotes(before + block)
                    before = block[-2:]
                first = block.find(end)
                if lines and reason is None and since + (first if first >= 0 else len(block)) > longest_line:
                    reason, line = f"the line is longer than {longest_line} bytes", breaks + 1
                breaks += block.count(end)
                since = since + len(block) if first < 0 else len(block) - block.rfind(end) - 1
            size += len(block)
    if reason is None:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            reason = "the file ends in the middle of a character, it was cut"
    return Scan(digest.hexdigest(), size, breaks, reason, line, blanks or before.endswith(b'" '))


def _blanks_by_quotes(block: bytes) -> bool:
    """DuckDB drops blanks around a quoted field also when it is strict; Python's reader keeps them or refuses the row.

    Searches of two bytes and a look at the third: nine searches of three took a second for 128 MiB.
    """
    if b'"' not in block:
        return False
    at = block.find(b' "')
    while at >= 0:
        if block[at - 1] in b', \n\r"':
            return True
        at = block.find(b' "', at + 2)
    at = block.find(b'" ')
    while at >= 0:
        if block[at + 2 : at + 3] in (b",", b" ", b"\n", b"\r"):
            return True
        at = block.find(b'" ', at + 2)
    return False


def _bad_bytes(decoder: codecs.IncrementalDecoder, block: bytes, at: int) -> tuple[str | None, int]:
    """The first byte of a block that is wrong: words and offset in the file."""
    null = block.find(b"\0")
    pending = decoder.getstate()[0]
    if block.isascii() and not pending:
        return (None, 0) if null < 0 else (f"byte {at + null + 1} of the file is NUL", at + null)
    try:
        decoder.decode(block)
    except UnicodeDecodeError as error:
        # The decoder puts the bytes it had kept from the block before in front.
        bad = at - len(pending) + error.start
        if null < 0 or bad < at + null:
            return not_utf8(error, bad), bad
    return (None, 0) if null < 0 else (f"byte {at + null + 1} of the file is NUL", at + null)


def lone_surrogate(path: Path) -> int | None:
    """The offset of a JSON escape that is half of a surrogate pair: yajl puts a ? there without a word."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"\\ud") < 0 and data.find(b"\\uD") < 0:
            return None
        return next((found.start() for found in _SURROGATE.finditer(data) if found[1]), None)


def long_digits(path: Path) -> int | None:
    """The offset of more than 4,000 digits in a row, also inside a JSON text.

    CPython makes no integer of more than 4,300 digits, and ijson's C code does not notice: SystemError or worse.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # So long a run has a digit at one of these places.
        for place, byte in enumerate(data[::_DIGITS]):
            if 0x30 <= byte <= 0x39:
                at = place * _DIGITS
                start = max(0, at - _DIGITS)
                run = _RUN.search(data[start : at + _DIGITS + 1])
                if run is not None:
                    return start + run.start()
    return None
