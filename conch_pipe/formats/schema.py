"""The schemas: loaded from TOML files, looked up by the name of their folder.

Never imports DuckDB: the service's own process uses this module. Checking files is in ``check.py``.
"""

from __future__ import annotations

from pathlib import Path

from conch_pipe.errors import Mistakes
from conch_pipe.formats.columns import Column, Completeness, Derived, Output, Schema
from conch_pipe.formats.lexical import Type
from conch_pipe.formats.parsing import NAME, parse_schema

__all__ = [
    "NAME",
    "Column",
    "Completeness",
    "Derived",
    "Output",
    "Schema",
    "SchemaBook",
    "Type",
    "load_schema",
    "parse_schema",
    "shipped",
]

LARGEST = 1 << 20  # bytes of a schema file: it crosses to the workers with each call


def shipped() -> Path:
    """The folder of the schemas that come with the product."""
    return Path(__file__).parent / "schemas"


def load_schema(path: Path) -> Schema:
    """Read one schema file; its name without ``.toml`` is the schema's.

    :raises Mistakes: all that is wrong with it; also when it cannot be read.
    """
    try:
        data = path.read_bytes()
        if len(data) > LARGEST:
            raise Mistakes(f"schema {path.stem}", [f"the file has more than {LARGEST} bytes"])
        return parse_schema(data.decode("utf-8"), path.stem)
    except UnicodeDecodeError:
        raise Mistakes(f"schema {path.stem}", ["the file is not UTF-8"]) from None
    except OSError as error:
        raise Mistakes(f"schema {path.stem}", [f"cannot be read: {error.strerror}"]) from None


class SchemaBook:
    """The schemas of one folder of ``*.toml`` files, as they were when last read without mistakes.

    :param folder: read by the first call of :meth:`refresh`, not before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._schemas: dict[str, Schema] = {}
        self._seen: dict[Path, tuple[int, int, int]] = {}

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._schemas)

    def get(self, name: str) -> Schema | None:
        """The schema of that name, or None."""
        return self._schemas.get(name)

    def text(self, name: str) -> str | None:
        """The TOML the schema was read from, or None; workers make the schema anew from it."""
        schema = self._schemas.get(name)
        return None if schema is None else schema.text

    def refresh(self) -> bool:
        """Read files that are new or changed, forget schemas whose file is gone.

        :returns: True when anything changed.
        :raises Mistakes: of all files together. The good files have taken effect all the same; a schema whose file
            is wrong now stays as it was. Raised again by each call until the file is mended.
        """
        try:
            paths = sorted(path for path in self.folder.iterdir() if path.suffix == ".toml" and path.is_file())
        except OSError as error:
            raise Mistakes(f"schemas {self.folder.name}", [f"the folder cannot be read: {error.strerror}"]) from None
        mistakes: list[str] = []
        schemas: dict[str, Schema] = {}
        seen: dict[Path, tuple[int, int, int]] = {}
        for path in paths:
            old = self._schemas.get(path.stem)
            try:
                status = path.stat()
                state = (status.st_mtime_ns, status.st_size, status.st_ino)
                if old is None or self._seen.get(path) != state:
                    schemas[path.stem] = load_schema(path)
                else:
                    schemas[path.stem] = old
                seen[path] = state
            except Mistakes as error:
                mistakes += [f"{path.name}: {one}" for one in error.mistakes]
            except OSError as error:
                mistakes.append(f"{path.name}: cannot be read: {error.strerror}")
            if path.stem not in schemas and old is not None:
                schemas[path.stem] = old
        mistakes += _same_table(schemas)
        changed = schemas != self._schemas or any(
            schemas[name].text != self._schemas[name].text for name in schemas if name in self._schemas
        )
        self._schemas, self._seen = schemas, seen
        if mistakes:
            raise Mistakes("schemas", mistakes)
        return changed


def _same_table(schemas: dict[str, Schema]) -> list[str]:
    """Two schemas may share a table only when its columns are the same."""
    first: dict[str, Schema] = {}
    mistakes = []
    for name in sorted(schemas):
        schema = schemas[name]
        other = first.setdefault(schema.table.lower(), schema)
        if [(o.name, o.type) for o in other.outputs] != [(o.name, o.type) for o in schema.outputs]:
            mistakes.append(f"{name}.toml: the table {schema.table} of {other.name} has other columns")
    return mistakes
