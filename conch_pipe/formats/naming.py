"""Which column of a file is which column of the schema: by name or alias, never by position.

Standard library only: the quick checks at CLOSE and the full check must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conch_pipe.formats.columns import Column, Schema
from conch_pipe.formats.words import close, listed, shown

_KNOWN: dict[int, tuple[tuple[Column, ...], dict[str, int]]] = {}  # of schemas met before: asked at every CLOSE
_MOST_KNOWN = 256
SEPARATORS = {";": ";", "\t": "tabs", "|": "|"}


@dataclass(frozen=True, slots=True)
class Match:
    """How the columns of a file fit."""

    positions: tuple[int | None, ...]  # for each column of the schema, its place in the file from 0
    reasons: tuple[str, ...] = ()  # what is wrong; empty: the file fits


def folded(name: str) -> str:
    """Two names are the same column when this is equal."""
    return name.strip().casefold()


def known_names(schema: Schema) -> dict[str, int]:
    """Every folded name and alias with the column's place in the schema; not to be changed."""
    known = _KNOWN.get(id(schema.columns))
    if known is None or known[0] is not schema.columns:
        names = {folded(name): n for n, column in enumerate(schema.columns) for name in (column.name, *column.aliases)}
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        # The tuple is kept as well: its id is no other's as long as it lives.
        known = _KNOWN[id(schema.columns)] = (schema.columns, names)
    return known[1]


def match(schema: Schema, header: Sequence[str], most: int = 2000) -> Match:
    """Find the schema's columns in a CSV header.

    :param header: the cells of the first record.
    :param most: columns a file may have.
    """
    known = known_names(schema)
    if len(header) > most:
        return Match((), (f"the header has {len(header)} columns, at most {most} are taken",))
    positions: list[int | None] = [None] * len(schema.columns)
    unknown: list[str] = []
    reasons: list[str] = []
    seen: set[str] = set()
    for place, cell in enumerate(header):
        name = folded(cell)
        if not name:
            reasons.append(f"column {place + 1} of the header has no name")
            continue
        column = known.get(name)
        key = name if column is None else folded(schema.columns[column].name)
        if key in seen:
            reasons.append(f"the column {shown(cell.strip(), 64)} is in the header twice")
        elif column is None:
            unknown.append(cell.strip())
        else:
            positions[column] = place
        seen.add(key)
    missing = [c.name for n, c in enumerate(schema.columns) if positions[n] is None and c.expected]
    if missing or (unknown and schema.unknown_columns == "reject"):
        separator = _other_separator(header, known)
        if separator:
            return Match((), (f"the file looks separated by {separator}, use commas",))
    if missing:
        reasons.append(missing_words(missing, unknown))
    if unknown and schema.unknown_columns == "reject":
        reasons.append(unknown_words(schema, unknown, missing))
    return Match(tuple(positions), tuple(reasons[:8]))


def missing_words(missing: Sequence[str], unknown: Sequence[str]) -> str:
    """``the columns a and b are missing (is totl meant as total?)``."""
    guesses = [(close(name, unknown), name) for name in missing[:8]]
    meant = [f"is {shown(guess, 64)} meant as {name}?" for guess, name in guesses if guess]
    words = (
        f"the column{'s' if len(missing) > 1 else ''} {listed(missing)} {'are' if len(missing) > 1 else 'is'} missing"
    )
    return f"{words} ({' '.join(meant)})" if meant else words


def unknown_words(schema: Schema, unknown: Sequence[str], missing: Sequence[str] = ()) -> str:
    """``the columns x and y are not known (is x meant as y?)``."""
    names = [column.name for column in schema.columns if column.name not in missing]
    guesses = [(name, close(name, names)) for name in unknown[:8]]
    meant = [f"is {shown(name, 64)} meant as {guess}?" for name, guess in guesses if guess]
    one = len(unknown) == 1
    words = f"the column{'' if one else 's'} {listed(unknown)} {'is' if one else 'are'} not known"
    return f"{words} ({' '.join(meant)})" if meant else words


def _other_separator(header: Sequence[str], known: dict[str, int]) -> str | None:
    """A header that would fit better when cut at another character than the comma."""
    fits = sum(folded(cell) in known for cell in header)
    best: str | None = None
    for character, word in SEPARATORS.items():
        cells = [part.strip('" ') for cell in header[:200] for part in cell.split(character)[:2000]]
        found = sum(folded(cell) in known for cell in cells)
        alone = len(header) == 1 and len(cells) > 1 and fits == found == 0 and best is None
        if len(cells) > len(header) and (found > fits or alone):
            best, fits = word, found
    return best
