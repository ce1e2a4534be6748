"""What a manifest of a recording says, and every mistake in it. Pure; does not look whether its files are there."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_pipe.errors import Mistakes
from conch_pipe.intake import recordings
from conch_pipe.intake.recordings import shown
from conch_pipe.model import Role

_FIELDS = ("organisation", "environment", "id", "name", "files")


class Unfinished(Exception):
    """What is there is no JSON; perhaps not yet."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says."""

    organisation: str
    environment: str
    id: str
    name: str
    files: Mapping[Role, Path]  # absolute


def parse(content: bytes, folder: Path) -> Manifest:
    """Read a manifest.

    :param folder: where relative paths begin.
    :raises Unfinished: it is no JSON.
    :raises Mistakes: fields are missing, unknown or of the wrong kind; with what is wrong with id and name besides.
    """
    wrong: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in found]
        wrong.extend(f"{shown(name)}: is there twice" for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(found)

    try:
        # Windows writes a byte order mark, which RFC 8259 section 8.1 lets readers ignore.
        said = json.loads(content.decode("utf-8-sig"), object_pairs_hook=pairs)
    except UnicodeDecodeError:
        raise Unfinished("the manifest is not UTF-8") from None
    except RecursionError:
        raise Mistakes("manifest", ["the manifest is nested too deep"]) from None
    except ValueError as error:
        raise Unfinished("the manifest is empty" if not content.strip() else f"is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise Mistakes("manifest", ["the manifest is not a JSON object"])
    wrong += [_unknown(name, _FIELDS) for name in said if name not in _FIELDS]
    words = {name: _text(said, name, wrong) for name in _FIELDS[:-1]}
    files = _files(said, folder, wrong)
    if wrong:
        # The intake, which would have told these, is not asked; what is missing here is told already.
        stand_in = {Role.MAIN: folder / "a"}
        wrong += recordings.mistakes(words["id"] or "a", words["name"] or "a", stand_in if files is None else files)
        raise Mistakes("manifest", wrong)
    assert files is not None
    return Manifest(words["organisation"], words["environment"], words["id"], words["name"], files)


def _text(said: dict[str, Any], name: str, wrong: list[str]) -> str:
    value = said.get(name)
    if isinstance(value, str) and value:
        return value
    wrong.append(f"{name}: text is needed" if name in said else f"{name}: is missing")
    return ""


def _files(said: dict[str, Any], folder: Path, wrong: list[str]) -> dict[Role, Path] | None:
    """The files; None when they cannot be looked at any further."""
    files = said.get("files")
    if not isinstance(files, dict):
        wrong.append("files: an object with roles and paths is needed" if "files" in said else "files: is missing")
        return None
    roles = [role.value for role in Role]
    found: dict[Role, Path] = {}
    good = True
    for role, path in files.items():
        if role not in roles:
            wrong.append(f"files.{_unknown(role, roles)}")
        elif not isinstance(path, str) or not path:
            wrong.append(f"files.{role}: a path is needed")
        else:
            found[Role(role)] = folder / path
            continue
        good = False
    return found if good else None


def _unknown(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"{shown(name)}: is unknown" + (f"; did you mean {close[0]}?" if close else "")
