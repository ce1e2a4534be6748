"""Would one value be taken? In Python, for the few values of schema files and samples; files are judged in SQL."""

from __future__ import annotations

import re

from conch_pipe.formats.columns import Column
from conch_pipe.formats.lexical import BLANKS, value_of


def fits(column: Column, text: str) -> bool:
    """Would the check take this cell?"""
    if column.type.kind == "text":
        value = text.strip(BLANKS) if column.trim else text
        short = column.max_length is None or len(value) <= column.max_length
        return bool(value) and short and bool(re.fullmatch(column.pattern or "(?s:.*)", value, re.ASCII))
    if column.type.kind == "enum":
        return text in column.values
    try:
        got = value_of(column.type, text, column.zone)
        low, high = (
            one if one is None else value_of(column.type, one, column.zone) for one in (column.minimum, column.maximum)
        )
    except ValueError:
        return False
    return (low is None or got >= low) and (high is None or got <= high)  # type: ignore[operator]
