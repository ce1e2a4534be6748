"""What can be told of a file at CLOSE, in milliseconds: from its name, its first and its last block.

Runs in the service's process: standard library only. Never refuses what the full check would accept; what it lets pass,
the full check still judges.
"""

from __future__ import annotations

import codecs

from conch_pipe.errors import Code, PipeError
from conch_pipe.formats.columns import Column, Schema
from conch_pipe.formats.csv_text import HEAD, NO_ROWS, header_of
from conch_pipe.formats.limits import Limits
from conch_pipe.formats.sniff import BOM, foreign, format_of, not_utf8
from conch_pipe.formats.words import plain, shown

__all__ = ["HEAD", "check_ends", "check_name"]

LONGEST = 200  # characters of an answer
_GOOD: dict[tuple[bytes, int], tuple[tuple[Column, ...], int]] = {}  # headers of files met before, of small ones mostly
_MOST_GOOD, _LONGEST_GOOD = 256, 4096  # headers; bytes of one
_BLANK = b" \t\r\n"


def check_name(name: str) -> str:
    """The format a file's name promises.

    :returns: "csv" or "json".
    :raises PipeError: INVALID for every other ending.
    """
    form = format_of(name)
    if form is None:
        raise PipeError(Code.INVALID, "use .csv or .json")
    return form


def check_ends(name: str, head: bytes, tail: bytes, size: int, schema: Schema) -> None:
    """Refuse a file that cannot be right.

    :param head: its first bytes, 64 KiB (``HEAD``) or the whole file.
    :param tail: its last bytes, as many; they may overlap.
    :param size: bytes of the file.
    :raises PipeError: BAD_FILE or INCOMPLETE with one short sentence; INVALID for the name.
    """
    form = check_name(name)
    whole = len(head) >= size
    reason = NO_ROWS if size == 0 else foreign(head) or _encoding(head, whole)
    if reason is None and whole and not head.removeprefix(BOM).strip():
        reason = NO_ROWS
    if reason is not None:
        raise _refusal(Code.BAD_FILE, reason)
    if form == "json":
        _json(head.removeprefix(BOM), tail, whole)
    else:
        _csv(head.removeprefix(BOM), tail, whole, schema)


def _refusal(code: Code, reason: str) -> PipeError:
    return PipeError(code, shown(plain(reason), LONGEST))


def _encoding(head: bytes, whole: bool) -> str | None:
    null = head.find(b"\0")
    if null >= 0:
        return f"byte {null + 1} of the file is NUL"
    try:
        # Not final: the block may end in the middle of a character.
        codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
    except UnicodeDecodeError as error:
        if whole and error.reason == "unexpected end of data":
            return "the file ends in the middle of a character, it was cut"
        return not_utf8(error, error.start)
    return None


def _json(head: bytes, tail: bytes, whole: bool) -> None:
    first, last = head.lstrip(_BLANK)[:1], tail.rstrip(_BLANK)[-1:]
    if not first or not last:
        return  # 64 KiB of blanks: the full check will tell
    close = {b"[": b"]", b"{": b"}"}.get(first)
    if close is None:
        raise _refusal(Code.BAD_FILE, "a JSON file must be an array of objects, or an object with one")
    if last != close:
        raise _refusal(Code.INCOMPLETE, f"the file was cut: it does not end with {close.decode()}")


def _csv(head: bytes, tail: bytes, whole: bool, schema: Schema) -> None:
    width = _width(head, whole, schema)
    asked = schema.completeness
    ended = tail.endswith((b"\n", b"\r"))
    if asked.final_newline and not ended:
        raise _refusal(Code.INCOMPLETE, "the file was cut: it does not end with a line break")
    if asked.trailer is not None:
        _trailer(tail, asked.trailer)
    elif width is not None and not ended:
        _last_record(tail, width)


def _width(head: bytes, whole: bool, schema: Schema) -> int | None:
    """How many columns the header has; None when it goes on behind the block.

    :raises PipeError: BAD_FILE when it does not fit the schema.
    """
    # A line without quotes is a record by itself, whatever follows: what was good once is good again.
    line = head[: head.find(b"\n", 0, _LONGEST_GOOD) + 1]
    known = _GOOD.get((line, id(schema.columns)))
    if known is not None and known[0] is schema.columns and (whole or len(line) < len(head)):
        return known[1]
    # Bytes of a character that was cut at the block's end are left out; they are not in the header's names.
    found = header_of(head.decode("utf-8", "ignore"), schema, Limits(), whole=whole)
    if found is None:
        return None
    header, fit = found
    if fit.reasons:
        raise _refusal(Code.BAD_FILE, fit.reasons[0])
    if line and b'"' not in line and b"\r" not in line.removesuffix(b"\r\n"):
        if len(_GOOD) >= _MOST_GOOD:
            _GOOD.clear()
        _GOOD[line, id(schema.columns)] = schema.columns, len(header)
    return len(header)


def _last_line(tail: bytes) -> str | None:
    """The last line, if it is a record for sure: it has no quote.

    Where a file ends outside quotes, a last line without quotes begins outside quotes; where it ends inside, the full
    check refuses it anyway.
    """
    start = max(tail.rfind(b"\n"), tail.rfind(b"\r")) + 1
    line = tail[start:]
    return line.decode("utf-8", "replace") if start and b'"' not in line else None


def _last_record(tail: bytes, width: int) -> None:
    line = _last_line(tail)
    if line is not None and line.count(",") + 1 < width:
        raise _refusal(Code.INCOMPLETE, f"the file was cut: the last line has {line.count(',') + 1} of {width} columns")


def _trailer(tail: bytes, word: str) -> None:
    line = _last_line(tail.rstrip(b"\r\n"))
    if line is not None and line.partition(",")[0].strip() != word:
        raise _refusal(Code.INCOMPLETE, f"the file was cut: the last line must be {word} and the number of rows")
