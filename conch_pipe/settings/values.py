"""The kinds of values settings have: counts, sizes, seconds, paths, URLs, lists.

A value is refused in words an operator understands; see ``loading.py`` for how they are put together.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_settings import NoDecode

KIB, MIB, GIB = 1024, 1024**2, 1024**3

_NO_TABLE = 'networks and presets are needed, like {"192.0.2.10" = "legacy-2026"}'
_UNITS = {
    "": 1, "b": 1, "byte": 1, "bytes": 1,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4,
    "kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4,
}  # fmt: skip
_SIZE = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def size(value: Any) -> Any:
    """Bytes from a number or from text such as "100 MB" (powers of 1000) or "2 MiB" (powers of 1024).

    :raises ValueError: the text is not a size, or not a whole number of bytes.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError('bytes are needed, as a whole number or as text like "2 MiB"')
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError('bytes are needed, as a whole number or as text like "2 MiB"')
    count = Decimal(match[1].replace("_", "")) * unit
    if count != int(count):
        raise ValueError("a whole number of bytes is needed")
    return int(count)


def _number(value: Any) -> Any:
    """pydantic takes True for 1; an operator who wrote ``port = true`` made a mistake."""
    if isinstance(value, bool):
        raise ValueError("a number is needed")
    return value


def _list(value: Any) -> Any:
    """A list from the environment: JSON, or words with commas between them."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError("a list is needed: JSON, or words with commas between them") from error
    return [word.strip() for word in value.split(",") if word.strip()]


def _table(value: Any) -> Any:
    """A table from the environment: JSON, or pairs with commas between them."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(_NO_TABLE) from error
    elif isinstance(value, str):
        pairs = [word.partition("=") for word in _list(value)]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError(_NO_TABLE)
        value = {network.strip(): preset.strip() for network, _, preset in pairs}
    if not isinstance(value, dict):
        raise ValueError(_NO_TABLE)
    return value


def _path(value: Any) -> Any:
    if isinstance(value, str) and (not value or "\0" in value):
        raise ValueError("a path is needed")
    return Path(value).expanduser() if isinstance(value, str) else value


def _network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError as error:
        raise ValueError(f"an address or a network is needed, like 10.0.0.0/8: {error}") from error
    return value


def listed(kind: Any) -> Any:
    """The annotation for a tuple of ``kind``; sources of plain text may write it with commas."""
    return Annotated[tuple[kind, ...], NoDecode, BeforeValidator(_list)]


Count = Annotated[int, BeforeValidator(_number)]
Size = Annotated[int, BeforeValidator(size)]
Seconds = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Place = Annotated[Path, BeforeValidator(_path)]
Places = listed(Place)
File = Annotated[str, "file"]  # a path; empty: none
Words = listed(Annotated[str, StringConstraints(min_length=1)])
Url = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*:.+$"), "url"]
Network = Annotated[str, AfterValidator(_network)]
Networks = listed(Network)
Preset = Literal["default-2026", "strict-2026", "legacy-2026"]
Presets = Annotated[dict[Network, Preset], NoDecode, BeforeValidator(_table)]
