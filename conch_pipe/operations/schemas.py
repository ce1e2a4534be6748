"""What files must look like, who may send them, and good files made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.catalog import Catalog
    from conch_pipe.formats.schema import Schema, SchemaBook
    from conch_pipe.interfaces import InThread

SAMPLE_ROWS = 10_000  # of one that is made in memory


@dataclass(frozen=True, slots=True)
class SchemaUse:
    """A schema and who may use it.

    :ivar schema: None: it is enabled for somebody, and its file is gone.
    """

    name: str
    schema: Schema | None
    organisations: tuple[str, ...]


class Schemas:
    """Those of the folder.

    :param book: gives them, as they are now.
    """

    def __init__(self, catalog: Catalog, book: Callable[[], SchemaBook], in_thread: InThread) -> None:
        self._catalog = catalog
        self._book = book
        self._in_thread = in_thread

    async def list(self) -> tuple[SchemaUse, ...]:
        """All of them by name, and then those that are gone. :raises Mistakes: a schema's file is wrong."""
        book = self._book()
        users: dict[str, list[str]] = {name: [] for name in book.names()}
        for organisation in await self._catalog.organisations.list():
            for name in organisation.schemas:
                users.setdefault(name, []).append(organisation.name)
        return tuple(SchemaUse(name, book.get(name), tuple(names)) for name, names in users.items())

    def existing(self, name: str) -> Schema:
        """:raises PipeError: NOT_FOUND, with the names there are. :raises Mistakes: a schema's file is wrong."""
        return known(self._book(), name)

    async def users(self, name: str) -> tuple[str, ...]:
        """The organisations that have it, by name."""
        found = await self._catalog.organisations.list()
        return tuple(organisation.name for organisation in found if name in organisation.schemas)

    async def sample(self, name: str, rows: int = 10, form: str = "csv", seed: int = 0) -> str:
        """A good file, made up; the same for the same seed.

        :param rows: at most SAMPLE_ROWS.
        :param form: csv or json.
        :raises PipeError: NOT_FOUND; INVALID, nothing made up fits one of its columns.
        """
        from conch_pipe.formats.sample import sample

        return str(await self._in_thread(sample, self.existing(name), min(rows, SAMPLE_ROWS), form, seed))


def known(book: SchemaBook, name: str) -> Schema:
    """The schema of that name. :raises PipeError: NOT_FOUND, with the names there are."""
    schema = book.get(name)
    if schema is None:
        raise PipeError(Code.NOT_FOUND, f"no schema {name}; there are {', '.join(sorted(book.names())) or 'none'}")
    return schema
