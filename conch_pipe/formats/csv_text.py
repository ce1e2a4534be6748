"""CSV as Python's own strict reader sees it: the header, and a rewritten copy of a file that DuckDB refuses.

The reader defines what a file means. DuckDB only proves, faster, that there is nothing to explain; a file it does not
take (mixed line ends, ragged rows, stray quotes, bad values) is read here, and each record keeps its number and line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conch_pipe.formats.columns import Schema
from conch_pipe.formats.limits import Limits
from conch_pipe.formats.naming import Match, match
from conch_pipe.formats.words import shown
from conch_pipe.model import Problem

HEAD = 1 << 16  # bytes the quick checks look at
NO_ROWS = "the file is empty"


@dataclass(slots=True)
class Canonical:
    """A file rewritten so that every record has the same shape: ``_row, _line, cell, cell, …``; and what was wrong."""

    path: Path
    width: int  # cells after _row and _line
    positions: tuple[int | None, ...]
    names: tuple[str, ...]  # of the schema's columns as the file calls them
    records: int = 0  # all of them, also those left out
    problems: list[Problem] = field(default_factory=list)  # the first 100
    problem_count: int = 0
    left_out: int = 0  # records with a problem, not written
    empty_is_null: bool = True  # also a quoted one; False: JSON, which tells "" from nothing
    fatal: bool = False  # the file as a whole is refused, whatever the schema says of rows

    def note(self, problem: Problem, most: int, *, fatal: bool = False) -> None:
        """Count a problem and keep it while there are few."""
        self.problem_count += 1
        self.fatal = self.fatal or fatal
        if len(self.problems) < most:
            self.problems.append(problem)

    def stop(self, problem: Problem) -> None:
        """A problem that ends the reading; it is told first."""
        self.problem_count += 1
        self.fatal = True
        self.problems.insert(0, problem)


def header_of(text: str, schema: Schema, limits: Limits, *, whole: bool) -> tuple[list[str], Match] | None:
    """The names in the first record and how they fit.

    :param text: the beginning of the file, without the BOM.
    :param whole: the text is the whole file.
    :returns: None when the record goes on behind the text.
    """
    csv.field_size_limit(limits.field_bytes)
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        if not whole and "field larger" not in str(error):
            return None
        return [], Match((), ("the header is not CSV: " + _reason(error, limits),))
    if not whole and lines.tell() >= len(text):
        return None
    if not header or not any(cell.strip() for cell in header):
        return [], Match((), ("the first line is empty, it must name the columns",))
    return header, match(schema, header, limits.columns)


def records(path: Path, limits: Limits) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Every record with the line it begins on, header included; an error stands for a record that is none.

    After an error the reader goes on with the next line. Lines without anything are no records.
    """
    csv.field_size_limit(limits.field_bytes)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, error
                continue
            if record:
                yield line, record


def canonical(path: Path, schema: Schema, found: Match, header: list[str], into: Path, limits: Limits) -> Canonical:
    """Rewrite a CSV file whose header is good.

    :param found: how the header fits.
    :param header: its cells.
    :param into: the new file.
    """
    width = len(header)
    names = tuple(
        column.name if place is None else shown(header[place].strip(), 64)
        for column, place in zip(schema.columns, found.positions, strict=True)
    )
    result = Canonical(into, width, found.positions, names)
    trailer = _Trailer(schema.completeness.trailer)
    whole_end = ends_with_break(path)
    with into.open("w", encoding="utf-8", newline="") as file:
        # All quoted: by itself the writer leaves a bare \r in a cell unquoted (CPython 3.11).
        write = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow
        rows = records(path, limits)
        next(rows, None)  # the header
        # One record behind: only the last one can be the trailer, or be cut.
        held: tuple[int, list[str] | csv.Error] | None = next(rows, None)
        while held is not None:
            following = next(rows, None)
            line, record = held
            if trailer.word is not None and following is None and trailer.takes(record):
                break
            result.records += 1
            if result.records > limits.rows:
                result.stop(Problem(f"there are more than {limits.rows} rows, split the file", line))
                break
            if isinstance(record, list) and len(record) > width and not any(record[width:]):
                del record[width:]  # DuckDB takes empty cells too many at the end of a row, and so do we
            if isinstance(record, list) and len(record) == width:
                write((result.records, line, *record))
            else:
                problem = _why(record, line, result.records, width, limits)
                whole = following is not None or whole_end
                if isinstance(record, csv.Error) and "field larger" in str(record):
                    result.stop(problem)
                    break
                if not whole and isinstance(record, list) and len(record) < width:
                    result.stop(Problem(f"the file was cut: the last line has {len(record)} of {width} columns", line))
                    break
                if isinstance(record, csv.Error) and "unexpected end of data" in str(record):
                    result.stop(problem)
                    break
                result.left_out += 1
                result.note(problem, limits.problems)
            held = following
    if not result.fatal:
        _complete(schema, result, trailer, whole_end)
    return result


def ends_with_break(path: Path) -> bool:
    """Does the file end with a line break?"""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read(1) in (b"\n", b"\r")


class _Trailer:
    """The last line of a file whose schema asks for a count of rows."""

    def __init__(self, word: str | None) -> None:
        self.word = word
        self.count: str | None = None

    def takes(self, record: list[str] | csv.Error) -> bool:
        if not isinstance(record, list) or record[0].strip() != self.word:
            return False
        # Spreadsheets fill the line up with empty cells.
        self.count = record[1].strip() if len(record) > 1 and not any(record[2:]) else ""
        return True


def _complete(schema: Schema, result: Canonical, trailer: _Trailer, whole_end: bool) -> None:
    asked = schema.completeness
    if asked.final_newline and not whole_end:
        result.stop(Problem("the file was cut: it does not end with a line break"))
    elif trailer.word is not None and trailer.count is None:
        result.stop(Problem(f"the file was cut: the last line must be {trailer.word} and the number of rows"))
    elif trailer.word is not None and (
        not (trailer.count or "").isdecimal() or int(trailer.count or 0) != result.records
    ):
        said = shown(trailer.count or "nothing", 20)
        result.stop(Problem(f"the last line says {said} rows, the file has {result.records}"))


def _why(record: list[str] | csv.Error, line: int, row: int, width: int, limits: Limits) -> Problem:
    if isinstance(record, csv.Error):
        return Problem(_reason(record, limits), line, row)
    cells = f"{len(record)} column{'' if len(record) == 1 else 's'}"
    return Problem(f"the row has {cells}, the header {width}", line, row, value=shown(",".join(record)))


def _reason(error: csv.Error, limits: Limits) -> str:
    """The reader's own words (CPython, Modules/_csv.c) made clear."""
    words = str(error)
    if "field larger" in words:
        return f"a field is longer than {limits.field_bytes} bytes, or its quote is never closed"
    if "unexpected end of data" in words:
        return "a quote is opened here and never closed"
    if "expected after" in words:
        return 'a quote inside a quoted field must be doubled ("")'
    return "the line is not CSV"
