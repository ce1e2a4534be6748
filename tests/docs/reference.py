"""The tables of the shipped schemas in docs/schemas.md: ``python -m tests.docs.reference`` writes them anew."""

from __future__ import annotations

from conch_pipe.formats.columns import Column, Schema
from conch_pipe.formats.schema import load_schema, shipped
from tests.docs.documents import SCHEMAS

BEGIN, END = "<!-- reference: begin -->\n", "<!-- reference: end -->"


def reference() -> str:
    """One section for each shipped schema."""
    return "\n".join(_section(load_schema(path)) for path in sorted(shipped().glob("*.toml")))


def stands() -> str:
    """What docs/schemas.md has between its marks."""
    return SCHEMAS.read_text().partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    """Put the reference between the marks."""
    before, _, rest = SCHEMAS.read_text().partition(BEGIN)
    SCHEMAS.write_text(before + BEGIN + reference() + END + rest.partition(END)[2])


def _section(schema: Schema) -> str:
    lines = [
        f"### {schema.name}",
        "",
        f"{schema.description} Table `{schema.table}`. A bad row: `{schema.on_bad_row}`; unknown columns: "
        f"`{schema.unknown_columns}`.",
        "",
        "| column | type | required | rules | meaning | also called |",
        "|---|---|---|---|---|---|",
    ]
    for column in schema.columns:
        aliases = ", ".join(f"`{alias}`" for alias in column.aliases)
        required = "yes" if column.expected else "no"
        lines.append(_row(f"`{column.name}`", str(column.type), required, _rules(column), column.description, aliases))
    if schema.derived:
        lines += ["", "Added by us:", "", "| column | type | from | meaning |", "|---|---|---|---|"]
        lines += [_row(f"`{one.name}`", str(one.type), f"`{one.sql}`", one.description) for one in schema.derived]
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _rules(column: Column) -> str:
    told = [", ".join(f"`{value}`" for value in column.values)] if column.values else []
    for word, value in (
        ("default", column.default),
        ("at least", column.minimum),
        ("at most", column.maximum),
        ("pattern", column.pattern),
        ("zone", column.zone),
        ("in the table", column.rename),
    ):
        if value is not None:
            told.append(f"{word} `{value}`")
    if column.max_length is not None:
        told.append(f"at most {column.max_length} characters")
    if column.trim:
        told.append("blanks around it taken off")
    return "; ".join(told)


if __name__ == "__main__":
    write()
