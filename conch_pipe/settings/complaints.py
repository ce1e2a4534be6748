"""What pydantic found wrong, in words an operator understands, with the place where it is written."""

from __future__ import annotations

from typing import Any

from pydantic_core import ErrorDetails

from conch_pipe.settings.outside import close, names, origin
from conch_pipe.settings.sections import Settings


def sentence(detail: ErrorDetails, lines: dict[tuple[str, ...], int]) -> tuple[int, str]:
    """One mistake: its line (0: not in the file), and where it is written, which setting, what is wrong."""
    where = tuple(str(part) for part in detail["loc"])
    section, name = (*where, "", "")[:2]
    place = origin(section, name)
    line = 0 if place else lines.get(where[:2]) or lines.get(where[:1]) or 0
    place = place or (f"line {line}" if line else "file")
    return line, f"{place}: {'.'.join(where[:2])}: {_complaint(detail, section, name)}"


def _complaint(detail: ErrorDetails, section: str, name: str) -> str:
    kind, limits = detail["type"], detail.get("ctx", {})
    # A URL may hold a password: its value is not repeated.
    shown = "" if name in ("url", "") else f", not {_short(detail['input'])}"
    known = names()
    if kind == "extra_forbidden" and not name:
        return f"no such section{close(section, list(known))}"
    if kind == "extra_forbidden":
        return f"no such setting{close(name, known[section]) or _elsewhere(name, known)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"is a section: write [{section}] and its settings below it"
    if kind == "value_error":
        return f"{limits['error']}{shown}"
    if kind in ("greater_than_equal", "greater_than"):
        return f"must be {'at least' if 'ge' in limits else 'more than'} {limits.get('ge', limits.get('gt')):g}{shown}"
    if kind in ("less_than_equal", "less_than"):
        return f"must be {'at most' if 'le' in limits else 'less than'} {limits.get('le', limits.get('lt')):g}{shown}"
    if kind == "literal_error":
        return f"must be {str(limits['expected']).replace(chr(39), chr(34))}{shown}"
    if kind == "string_pattern_mismatch":
        example = getattr(getattr(Settings(), section), name)
        return f"must be a URL such as {example}"
    needed = {
        "int": "a whole number is needed",
        "float": "a number is needed",
        "finite": "a number is needed",
        "bool": "true or false is needed",
        "string": "text is needed",
        "path": "a path is needed",
        "tuple": "a list is needed",
    }
    return f"{needed.get(kind.partition('_')[0], detail['msg'])}{shown}"


def _elsewhere(name: str, known: dict[str, list[str]]) -> str:
    """The setting exists in another section."""
    homes = [section for section, fields in known.items() if name in fields]
    return f"; it belongs to [{homes[0]}]" if len(homes) == 1 else ""


def _short(value: Any) -> str:
    shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else repr(value)
    return shown if shown and len(shown) <= 60 else f"{shown}"[:57] + "..."
