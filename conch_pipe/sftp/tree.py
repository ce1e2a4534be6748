"""Where a path leads in the virtual tree: the root, a schema folder, or a file in one. Pure.

The tree has exactly two levels and exists only as names: nothing here touches a disk, and no path can lead above
the root. Does not know which files exist, nor whether a file's name is acceptable to ``intake``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from conch_pipe.errors import Code, PipeError

PATH_BYTES = 1024
NAME_BYTES = 255
_NAMED = 20  # schemas named in a refusal: its text must stay readable in a client's one line
# Controls would forge log lines and terminal output; U+2028 and U+2029 end lines too.
_BREAKING = {"Cc", "Zl", "Zp", "Cs"}


@dataclass(frozen=True, slots=True)
class Root:
    """The top folder: one folder per enabled schema."""


@dataclass(frozen=True, slots=True)
class SchemaFolder:
    """A folder into which files are put."""

    name: str


@dataclass(frozen=True, slots=True)
class FileName:
    """A file in a schema folder, there or not."""

    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Outside:
    """A name directly below the root that is no schema of the client's: never there, and nothing can be put there."""

    name: str


Place = Root | SchemaFolder | FileName | Outside


def real(path: bytes) -> bytes:
    """The absolute path without ``.``, ``..``, doubled or trailing slashes; also of names that do not exist.

    :param path: as the client sent it; relative paths start at the root.
    :raises PipeError: INVALID when it is longer than 1,024 bytes.
    """
    return b"/" + b"/".join(_parts(path))


def resolve(path: bytes, schemas: Collection[str]) -> Place:
    """Where a path leads for a client with these schemas.

    :param path: as the client sent it; ``dir/.`` is the folder (lftp asks so before it puts into it).
    :param schemas: names of the schemas enabled for the client.
    :raises PipeError: NOT_FOUND for an unknown schema and below a file; INVALID for a path that cannot be a name:
        not UTF-8, too long, with control characters.
    """
    parts = [_name(part) for part in _parts(path)]
    match parts:
        case []:
            return Root()
        case [name]:
            return SchemaFolder(name) if name in schemas else Outside(name)
        case [schema, *_] if schema not in schemas:
            raise no_such_schema(schemas)
        case [schema, name]:
            return FileName(schema, name)
    raise PipeError(Code.NOT_FOUND, "a schema folder holds files only, no folders")


def target(path: bytes, schemas: Collection[str]) -> FileName:
    """The file a put is meant for.

    :raises PipeError: NOT_ALLOWED for a place that takes no files, with the places that do; else as :func:`resolve`.
    """
    place = resolve(path, schemas)
    if isinstance(place, FileName):
        return place
    if isinstance(place, SchemaFolder):
        raise PipeError(Code.NOT_ALLOWED, f"{place.name} is a folder: put files into it under a name")
    # lftp goes on in the root when its cd failed, and says it succeeded: the root must refuse (SFtp.cc).
    if not schemas:
        raise no_such_schema(schemas)
    raise PipeError(Code.NOT_ALLOWED, f"put files into a schema folder: {_listed(schemas)}")


def label(path: bytes) -> str:
    """The path for a log line, whatever it contains: what cannot be printed is escaped."""
    text = real(path[:PATH_BYTES]).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)[:NAME_BYTES]


def no_such_schema(schemas: Collection[str]) -> PipeError:
    """The refusal that tells a partner what there is instead."""
    if not schemas:
        return PipeError(Code.NOT_FOUND, "no schema is enabled for your organisation")
    return PipeError(Code.NOT_FOUND, f"no such schema; yours are {_listed(schemas)}")


def _parts(path: bytes) -> list[bytes]:
    if len(path) > PATH_BYTES:
        raise PipeError(Code.INVALID, f"the path is longer than {PATH_BYTES} bytes")
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b".") and (
            parts or part != b"~"
        ):  # scp host:~/folder/: everybody is at home in the root
            parts.append(part)
    return parts


def _name(part: bytes) -> str:
    if len(part) > NAME_BYTES:
        raise PipeError(Code.INVALID, f"the name is longer than {NAME_BYTES} bytes")
    try:
        name = part.decode()
    except UnicodeDecodeError:
        raise PipeError(Code.INVALID, "the name is not UTF-8") from None
    # Printable is quickly told, and nothing printable is breaking.
    if not name.isprintable() and any(unicodedata.category(character) in _BREAKING for character in name):
        raise PipeError(Code.INVALID, "the name has control characters")
    return name


def _listed(schemas: Collection[str]) -> str:
    names = sorted(schemas)
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
