"""Small CSV files checked together: most of what one costs is DuckDB's planning, and that is done once for all.

The verdict on each is the one that check.py gives it by itself: what is not proved good together is checked alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_pipe.errors import PipeError
from conch_pipe.formats import engine
from conch_pipe.formats.check import ROWS, SOURCE, Check, check_file, is_small, own_folder, parsed, reaching
from conch_pipe.formats.limits import Limits
from conch_pipe.formats.sniff import format_of
from conch_pipe.formats.verdicts import to_json


@dataclass(eq=False, slots=True)
class _Candidate:
    """A file that may be good: nothing but its values is left to be judged."""

    number: int
    run: Check
    width: int
    positions: tuple[int | None, ...]


def check_many(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker process calls for several files.

    :param arguments: ``schema_text``, and ``checks``, at most ``check.MOST``: all else that :func:`check_file` takes,
        also ``sha256`` and ``desk``, of each file.
    :returns: ``{"results": [...]}``, in order, each ``{"verdict": ...}``, or ``{"error": ...}`` with its ``code``,
        ``message`` and ``detail``. A ``parquet`` may have rows of several files then, see ``engine.FILE``.
    """
    checks = [{**one, "schema_text": arguments["schema_text"]} for one in arguments["checks"]]
    found = _proved(checks)
    return {"results": [found.get(number) or _alone(one) for number, one in enumerate(checks)]}


def _alone(arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"verdict": check_file(arguments)}
    except PipeError as error:
        return {"error": {"code": error.code.value, "message": error.message, "detail": error.detail}}


def _proved(checks: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    sources = [own_folder(one["desk"]) / f"{SOURCE}-{number}" for number, one in enumerate(checks)]
    alike: dict[tuple[Any, ...], list[_Candidate]] = defaultdict(list)
    results = {}
    try:
        for number, (arguments, source) in enumerate(zip(checks, sources, strict=True)):
            one = _candidate(number, arguments, source)
            if one is not None:
                alike[one.run.limits, one.width, one.positions].append(one)
        for group in alike.values():
            for one, rows in zip(group, _rows(group), strict=False):
                results[one.number] = {"verdict": to_json(one.run.proved_good(rows))}
    finally:
        for source in sources:
            source.unlink(missing_ok=True)
    return results


def _candidate(number: int, arguments: Mapping[str, Any], source: Path) -> _Candidate | None:
    schema = parsed(arguments["schema_text"], arguments["schema_name"])
    path = Path(arguments["path"])
    if schema.python is not None or format_of(arguments["name"]) != "csv" or not is_small(path):
        return None
    folder, parquet = source.parent, Path(arguments["parquet"])
    source.write_bytes(path.read_bytes())
    run = Check(schema, source, "csv", parquet, folder, Limits.of(arguments.get("limits") or {}), reaching(folder))
    run.read_head()
    found = run.scan()
    if found.sha256 != arguments["sha256"].lower() or found.reason is not None or not run.may_be_proved(found):
        return None
    provable = run.provable()
    if provable is None:
        return None
    names, fit = provable
    return _Candidate(number, run, len(names), fit.positions)


def _rows(group: Sequence[_Candidate]) -> list[int]:
    """How many rows each has, in order; nothing when not all of them are good, or one has no company.

    The rows of all are in one Parquet, which has a name in each one's folder: writing one for each took half of the
    time.
    """
    if len(group) == 1:
        return []
    run = group[0].run
    paths, parquet = {one.run.path: one.run.parquet for one in group}, run.folder / ROWS
    try:
        with run.connected() as connection:
            found = engine.prove_many(
                connection, run.schema, paths, group[0].width, group[0].positions, parquet, run.limits
            )
        if found is None:
            return []
        for name in paths.values():
            name.hardlink_to(parquet)
        return found
    finally:
        parquet.unlink(missing_ok=True)
