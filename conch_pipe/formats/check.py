"""Is a file what its schema says? Reads it in a worker process and writes the good rows to Parquet.

Two ways, one meaning. First DuckDB tries to prove in one streaming statement that nothing is wrong. A file that is not
proved is read again by Python's strict CSV reader, which defines what a file means and knows record and line of every
problem; its rewritten copy goes through the same rules. JSON is always rewritten. Verdicts depend on the bytes only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from conch_pipe.errors import Code, PipeError
from conch_pipe.formats import csv_text, engine, json_text, sniff
from conch_pipe.formats.columns import Schema
from conch_pipe.formats.csv_text import NO_ROWS, Canonical
from conch_pipe.formats.limits import Limits
from conch_pipe.formats.naming import Match
from conch_pipe.formats.parsing import parse_schema
from conch_pipe.formats.verdicts import to_json
from conch_pipe.model import Problem, Verdict

GLOB = frozenset("*?[")  # DuckDB takes a path with these for a pattern
SMALL = 1 << 20  # bytes of a file that is checked by an instance of DuckDB which is kept
MOST = 32  # files that are checked together, see together.py
SOURCE, ROWS, REWRITTEN = "source", "rows.parquet", "canonical.csv"  # names of work files

parsed = lru_cache(maxsize=32)(parse_schema)


def check_file(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker process calls: JSON values in, JSON values out.

    :param arguments: ``schema_text``, ``schema_name``, ``path``, ``name`` (the client's), ``parquet`` (to be written),
        and optionally ``sha256`` (hexadecimal), ``limits`` (see limits.py; others are ignored), and ``desk``: a folder
        in which this process, and it alone, may keep one of its own for what it needs from file to file.
    :returns: a Verdict; ``verdicts.from_json`` reads it.
    :raises PipeError: as :func:`check`.
    """
    schema = parsed(arguments["schema_text"], arguments["schema_name"])
    path, parquet = Path(arguments["path"]), arguments.get("parquet")
    limits = Limits.of(arguments.get("limits") or {})
    desk = arguments.get("desk")
    if desk and parquet and schema.python is None and is_small(path):
        verdict = _check_small(
            schema, path, arguments["name"], Path(parquet), arguments.get("sha256"), limits, own_folder(desk)
        )
    else:
        verdict = check(
            schema,
            path,
            name=arguments["name"],
            parquet=Path(parquet) if parquet else None,
            sha256=arguments.get("sha256"),
            limits=limits,
        )
    return to_json(verdict)


def is_small(path: Path) -> bool:
    try:
        return path.stat().st_size <= SMALL
    except FileNotFoundError:
        return False


def _check_small(
    schema: Schema, path: Path, name: str, parquet: Path, sha256: str | None, limits: Limits, folder: Path
) -> Verdict:
    """The same as :func:`check`, by an instance of DuckDB that is kept.

    What an instance may reach can never be changed again: each file is brought to the same place.
    """
    source, rows = folder / SOURCE, folder / ROWS
    source.write_bytes(path.read_bytes())
    try:
        verdict = _judged(Check(schema, source, _form(name), rows, folder, limits, reaching(folder)), sha256)
    finally:
        source.unlink()
        Path(folder, REWRITTEN).unlink(missing_ok=True)
    if verdict.accepted:
        rows.replace(parquet)
    return verdict


def reaching(folder: Path) -> engine.Connect:
    """An instance that is kept, with all files of this process within its reach."""
    paths = [folder / name for name in (SOURCE, ROWS, REWRITTEN, *(f"{SOURCE}-{number}" for number in range(MOST)))]
    return lambda limits, folder, *_: engine.kept(limits, folder, *paths)


@lru_cache(maxsize=1)
def own_folder(desk: str) -> Path:
    """A folder for this process; those of processes that have ended go, for workers end without a word."""
    for other in Path(desk).glob("worker-*"):
        try:
            os.kill(int(other.name.partition("-")[2]), 0)
        except ProcessLookupError:
            shutil.rmtree(other, ignore_errors=True)
    own = Path(desk, f"worker-{os.getpid()}").absolute()
    own.mkdir(exist_ok=True)
    return own


def check(
    schema: Schema,
    path: Path,
    *,
    name: str | None = None,
    parquet: Path | None = None,
    sha256: str | None = None,
    limits: Limits | None = None,
) -> Verdict:
    """Judge one file.

    :param name: tells CSV from JSON by its end; without it the path's own.
    :param parquet: gets the rows when the verdict is ``accepted``, and does not exist otherwise. None: only judge.
    :param sha256: hexadecimal, of what was received.
    :raises PipeError: INVALID for another kind of file; CONFLICT when the bytes are not those received; NOT_FOUND;
        FAILED when the schema's own Python function is missing or wrong.
    """
    limits = limits or Limits()
    form = _form(name or path.name)
    beside = limits.temporary or (parquet.parent if parquet is not None else None)
    with tempfile.TemporaryDirectory(prefix="check-", dir=beside) as folder:
        work = Path(folder)
        return _judged(Check(schema, path, form, parquet or work / ROWS, work, limits, engine.connected), sha256)


def _form(name: str) -> str:
    form = sniff.format_of(name)
    if form is None:
        raise PipeError(Code.INVALID, "use .csv or .json")
    return form


def _judged(run: Check, sha256: str | None) -> Verdict:
    try:
        found = run.look()
    except FileNotFoundError:
        raise PipeError(Code.NOT_FOUND, "the stored copy is gone", str(run.path)) from None
    if sha256 is not None and found.sha256 != sha256.lower():
        run.parquet.unlink(missing_ok=True)
        raise PipeError(Code.CONFLICT, "stored copy damaged", f"sha256 {found.sha256}, expected {sha256}")
    if found.reason is not None:
        run.parquet.unlink(missing_ok=True)
        return refused(found.reason, found.line)
    try:
        return run.csv(found) if run.form == "csv" else run.json()
    except PipeError as error:
        # Derived columns that cannot be computed, or a transformer that does not like what it sees.
        if error.code is not Code.BAD_FILE:
            raise
        run.parquet.unlink(missing_ok=True)
        return refused(error.message)


def refused(reason: str, line: int | None = None) -> Verdict:
    """The verdict on a file that is wrong as a whole."""
    return Verdict(0, 0, False, (Problem(reason, line),), 1)


class Check:
    """One file being judged.

    :param folder: for work files.
    """

    def __init__(
        self,
        schema: Schema,
        path: Path,
        form: str,
        parquet: Path,
        folder: Path,
        limits: Limits,
        connect: engine.Connect,
    ) -> None:
        self.schema = schema
        self.path = path
        self.form = form
        self.parquet = parquet
        self.folder = folder
        self.limits = limits
        self.connect = connect
        self.rewritten = folder / REWRITTEN
        self.head = b""
        self.proved: int | None = None  # rows, when nothing is wrong as far as DuckDB alone can tell
        self.failure: PipeError | None = None  # of the proof, told when the bytes are found to be text

    def look(self) -> sniff.Scan:
        """Read all bytes once, while DuckDB, which needs no interpreter for it, tries its proof on another core."""
        self.read_head()
        with ThreadPoolExecutor(max_workers=1) as beside:
            scanning = beside.submit(self.scan)
            if self.form == "csv" and sniff.is_text(self.head):
                try:
                    self.proved = self.proof()
                except PipeError as error:
                    self.failure = error
            return scanning.result()

    def read_head(self) -> None:
        with self.path.open("rb") as file:
            self.head = file.read(self.limits.line_bytes + 4)

    def scan(self) -> sniff.Scan:
        return sniff.scan(self.path, lines=self.form == "csv", longest_line=self.limits.line_bytes)

    def connected(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        return self.connect(self.limits, self.folder, self.path, self.rewritten, self.parquet)

    def header(self) -> tuple[list[str], Match] | None:
        head = self.head.removeprefix(sniff.BOM)
        whole = len(self.head) < self.limits.line_bytes + 4
        return csv_text.header_of(head.decode("utf-8", "ignore"), self.schema, self.limits, whole=whole)

    def csv(self, found: sniff.Scan) -> Verdict:
        if not self.head.removeprefix(sniff.BOM).strip():
            return refused(NO_ROWS)
        header = self.header()
        if header is None:
            return refused(f"the line is longer than {self.limits.line_bytes} bytes", 1)
        names, fit = header
        if fit.reasons:
            problems = tuple(Problem(reason, 1) for reason in fit.reasons)
            return Verdict(0, 0, False, problems, len(problems))
        if self.failure is not None:
            raise self.failure
        if self.proved is not None and self.may_be_proved(found):
            return self.proved_good(self.proved)
        self.parquet.unlink(missing_ok=True)
        file_ = csv_text.canonical(self.path, self.schema, fit, names, self.rewritten, self.limits)
        return self.judged(file_)

    def json(self) -> Verdict:
        with self.path.open("rb") as file:
            if not file.read(1 << 16).removeprefix(sniff.BOM).strip(b" \t\r\n"):
                return refused(NO_ROWS)
        half = sniff.lone_surrogate(self.path)
        if half is not None:
            return refused(f"the escape at byte {half + 1} is half of a surrogate pair")
        digits = sniff.long_digits(self.path)
        if digits is not None:
            return refused(f"there are more than 4000 digits in a row at byte {digits + 1}")
        return self.judged(json_text.canonical(self.path, self.schema, self.rewritten, self.limits))

    def may_be_proved(self, found: sniff.Scan) -> bool:
        return found.breaks <= self.limits.rows and not found.blanks

    def proof(self) -> int | None:
        """The number of rows when nothing is wrong, as far as DuckDB alone can tell; the Parquet is written then."""
        provable = self.provable()
        if provable is None or GLOB & set(str(self.path)):
            return None
        names, fit = provable
        with self.connected() as connection:
            return engine.prove(
                connection, self.schema, self.path, len(names), fit.positions, self.parquet, self.limits
            )

    def provable(self) -> tuple[list[str], Match] | None:
        """The header and how it fits, when DuckDB alone can tell that nothing is wrong with what follows."""
        asked = self.schema.completeness
        header = self.header() if self.head.removeprefix(sniff.BOM).strip() else None
        if (
            header is None
            or header[1].reasons
            or asked.trailer is not None
            or (asked.final_newline and not csv_text.ends_with_break(self.path))
            or len(header[0]) == 1  # a line without anything is a row to DuckDB then
        ):
            return None
        return header

    def proved_good(self, rows: int) -> Verdict:
        return self.enough(Verdict(rows, 0, True))

    def judged(self, file: Canonical) -> Verdict:
        """The verdict on a rewritten file."""
        if file.fatal:
            return Verdict(0, 0, False, tuple(file.problems[: self.limits.problems]), file.problem_count)
        with self.connected() as connection:
            bad, count, problems = engine.explain(connection, self.schema, file, self.limits)
            problems = sorted([*file.problems, *problems], key=lambda one: one.row or 0)[: self.limits.problems]
            count += file.problem_count
            left_out = file.left_out + bad
            if left_out and self.schema.on_bad_row == "reject_file":
                return Verdict(0, 0, False, tuple(problems), count)
            if left_out and left_out == file.records:
                none = Problem(f"none of the {left_out} rows is good")
                return Verdict(0, 0, False, (none, *problems)[: self.limits.problems], count + 1)
            rows = engine.write_good(connection, self.schema, file, self.parquet, self.limits)
        return self.enough(Verdict(rows, left_out, True, tuple(problems), count))

    def enough(self, verdict: Verdict) -> Verdict:
        """A header without rows is a day without sales and fine, unless the schema asks for rows."""
        least = self.schema.completeness.min_rows
        if verdict.rows >= least:
            return verdict
        self.parquet.unlink(missing_ok=True)
        return refused(f"the file has {verdict.rows} rows, at least {least} are expected")
