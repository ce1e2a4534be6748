"""How much of anything one file may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one check; defaults are the product's.

    :source: research/reliability.md section 6.2.
    """

    columns: int = 2000
    field_bytes: int = 1 << 20
    line_bytes: int = 1 << 22
    rows: int = 5_000_000
    problems: int = 100  # kept; all are counted
    depth: int = 64  # of JSON
    digits: int = 40  # of a number in JSON
    memory: str = "384MB"  # DuckDB's own; with less, two threads cannot write a Parquet in order
    threads: int = 2
    temporary: str | None = None  # folder for work files; None: beside the Parquet file

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Limits:
        """From JSON values; what is not a limit of the check is left to others."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
