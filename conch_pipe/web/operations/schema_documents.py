"""The documents of schemas."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from conch_pipe.formats.schema import Column, Schema
from conch_pipe.web.documents import Given, Taken


class SampleQuery(Taken):
    """What the made-up file is to be like."""

    format: Literal["csv", "json"] = "csv"
    rows: int = Field(10, ge=0, le=10_000)
    seed: int = Field(0, ge=0, le=1_000_000_000, description="The same gives the same rows.")


class SchemaBrief(Given):
    """A schema and who may use it."""

    name: str
    title: str
    table: str | None = Field(None, description="That its rows go to.")
    columns: int | None = None
    organisations: tuple[str, ...] = Field(description="That may send files of it.")
    missing: bool = Field(description="It is enabled for somebody, and its file is gone.")


class Schemas(Given):
    """Schemas, by name."""

    schemas: list[SchemaBrief]


class ColumnGiven(Given):
    """A column of the file; null: there is no such rule."""

    name: str
    type: str
    required: bool
    default: str | None = None
    min: str | None = None
    max: str | None = None
    pattern: str | None = None
    max_length: int | None = None
    values: tuple[str, ...] = ()
    zone: str | None = Field(None, description="Of times that have none.")
    aliases: tuple[str, ...] = Field((), description="It may also be called so.")
    rename: str | None = Field(None, description="Its name in the table.")
    description: str = ""


class DerivedGiven(Given):
    """A column of the table that is made here."""

    name: str
    type: str
    description: str = ""


class Completeness(Given):
    """How a file shows that it is whole."""

    final_newline: bool
    trailer: str | None = Field(None, description="First word of a last line that has the number of rows.")
    count_key: str | None = Field(None, description="Of JSON: has the number of records.")
    min_rows: int


class SchemaGiven(Given):
    """What files of a schema must look like."""

    name: str
    title: str
    description: str
    table: str
    on_bad_row: str = Field(description="reject_file or reject_row.")
    unknown_columns: str = Field(description="reject or ignore.")
    completeness: Completeness
    columns: list[ColumnGiven]
    derived: list[DerivedGiven]
    organisations: tuple[str, ...] = Field(description="That may send files of it.")


def brief(use: Any, organisations: tuple[str, ...]) -> SchemaBrief:
    """A schema and who may use it. :param use: an operations.schemas.SchemaUse."""
    schema: Schema | None = use.schema
    return SchemaBrief(
        name=use.name,
        title=schema.title if schema else "",
        table=schema.table if schema else None,
        columns=len(schema.columns) if schema else None,
        organisations=organisations,
        missing=schema is None,
    )


def whole(schema: Schema, organisations: tuple[str, ...]) -> SchemaGiven:
    """All of it."""
    asked = schema.completeness
    return SchemaGiven(
        name=schema.name,
        title=schema.title,
        description=schema.description,
        table=schema.table,
        on_bad_row=schema.on_bad_row,
        unknown_columns=schema.unknown_columns,
        completeness=Completeness(
            final_newline=asked.final_newline,
            trailer=asked.trailer,
            count_key=asked.count_key,
            min_rows=asked.min_rows,
        ),
        columns=[_column(one) for one in schema.columns],
        derived=[
            DerivedGiven(name=one.name, type=str(one.type), description=one.description) for one in schema.derived
        ],
        organisations=organisations,
    )


def _column(one: Column) -> ColumnGiven:
    return ColumnGiven(
        name=one.name,
        type=str(one.type),
        required=one.required,
        default=one.default,
        min=one.minimum,
        max=one.maximum,
        pattern=one.pattern,
        max_length=one.max_length,
        values=tuple(one.values),
        zone=one.zone,
        aliases=tuple(one.aliases),
        rename=one.rename,
        description=one.description,
    )
