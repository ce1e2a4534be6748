"""What a schema says, as frozen values. Read from TOML by ``parsing.py``; knows neither files nor SQL."""

from __future__ import annotations

from dataclasses import dataclass, field

from conch_pipe.formats.lexical import Type


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the partner's file."""

    name: str
    type: Type
    required: bool = False  # each row has a value; without a default, the file has the column
    default: str | None = None  # written like a cell; stands in where there is no value
    minimum: str | None = None  # written like a cell; inclusive
    maximum: str | None = None
    pattern: str | None = None  # RE2, the whole text
    max_length: int | None = None  # characters
    values: tuple[str, ...] = ()  # of an enum
    zone: str | None = None  # of a timestamp: "required", "utc", or the IANA zone of times without one
    trim: bool = False  # text: take blanks off both ends (every other type always does)
    aliases: tuple[str, ...] = ()  # other names of the column in files
    rename: str | None = None  # name in the table
    examples: tuple[str, ...] = ()  # written like cells; samples are made of them
    description: str = ""

    @property
    def output(self) -> str:
        """Its name in the table."""
        return self.rename or self.name

    @property
    def expected(self) -> bool:
        """Must the file have this column?"""
        return self.required and self.default is None


@dataclass(frozen=True, slots=True)
class Derived:
    """A column of the table that no file has."""

    name: str
    type: Type
    sql: str | None = None  # over the typed columns, by their names in the file; None: the Python transformer sets it
    description: str = ""


@dataclass(frozen=True, slots=True)
class Completeness:
    """What proves that a file is whole, beyond a last record that is."""

    final_newline: bool = False  # CSV: the file ends with a line break
    trailer: str | None = None  # CSV: the last line is this word and the number of rows, e.g. ``END,120``
    count_key: str | None = None  # JSON: the wrapping object says under this key how many records there are
    min_rows: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the table."""

    name: str
    type: Type
    required: bool
    description: str

    @property
    def sql_type(self) -> str:
        """Understood by DuckDB and PostgreSQL alike."""
        return self.type.sql


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of file and the table it becomes."""

    name: str  # of the folder
    columns: tuple[Column, ...]
    title: str = ""
    description: str = ""
    table: str = ""
    on_bad_row: str = "reject_file"  # or "reject_row"
    unknown_columns: str = "reject"  # or "ignore"
    derived: tuple[Derived, ...] = ()
    completeness: Completeness = field(default_factory=Completeness)
    python: str | None = None  # "package.module:function"
    text: str = field(default="", repr=False, compare=False)  # the TOML it was read from

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The columns of the table, in order. Before them the Parquet file has ``_row`` BIGINT: the number of the
        record in the file, from 1."""
        # A quoted "" of JSON satisfies nothing that is required, so a required column is never NULL.
        own = [Output(c.output, c.type, c.required or c.default is not None, c.description) for c in self.columns]
        return (*own, *(Output(d.name, d.type, False, d.description) for d in self.derived))
