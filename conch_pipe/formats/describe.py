"""A schema in words, for ``schema show --json`` and the partner's reference. Never imports DuckDB."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from conch_pipe.formats.columns import Column, Schema


def describe(schema: Schema) -> dict[str, Any]:
    """All of a schema as JSON values; types as they are written in its file."""
    return {
        "name": schema.name,
        "title": schema.title,
        "description": schema.description,
        "table": schema.table,
        "on_bad_row": schema.on_bad_row,
        "unknown_columns": schema.unknown_columns,
        "completeness": asdict(schema.completeness),
        "columns": [_column(column) for column in schema.columns],
        "derived": [{**asdict(one), "type": str(one.type)} for one in schema.derived],
        "python": schema.python,
        "outputs": [{"name": one.name, "sql_type": one.sql_type, "required": one.required} for one in schema.outputs],
    }


def _column(column: Column) -> dict[str, Any]:
    values = asdict(column)
    lists = {key: list(value) for key, value in values.items() if isinstance(value, tuple)}
    return {**values, **lists, "type": str(column.type)}


def reference(schema: Schema) -> str:
    """The schema as Markdown, for partners."""
    lines = [
        f"## {schema.name}",
        "",
        schema.description,
        "",
        "| column | type | required | meaning |",
        "|---|---|---|---|",
    ]
    for column in schema.columns:
        names = ", ".join(f"`{name}`" for name in column.aliases)
        meaning = column.description + (f" Also called {names}." if names else "")
        kind = ", ".join(column.values) if column.values else str(column.type)
        cells = (f"`{column.name}`", kind, "yes" if column.expected else "no", meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
