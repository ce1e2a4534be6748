"""Tenants, and which schemas they may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from conch_pipe.catalog import Catalog
    from conch_pipe.model import Organisation
    from conch_pipe.operations.schemas import Schemas


class Organisations:
    """The catalog's, and only schemas that exist are enabled."""

    def __init__(self, catalog: Catalog, schemas: Schemas) -> None:
        self._catalog = catalog
        self._schemas = schemas

    def list(self) -> Deferred[tuple[Organisation, ...]]:
        """All of them, by name."""
        return self._catalog.organisations.list()

    def get(self, name: str) -> Deferred[Organisation | None]:
        """One of them."""
        return self._catalog.organisations.get(name)

    async def existing(self, name: str) -> Organisation:
        """One of them. :raises PipeError: NOT_FOUND."""
        found = await self.get(name)
        if found is None:
            raise PipeError(Code.NOT_FOUND, f"no organisation {name}")
        return found

    async def create(self, name: str, title: str = "", schemas: tuple[str, ...] = ()) -> Organisation:
        """:raises PipeError: INVALID for a bad name; CONFLICT when it exists; NOT_FOUND for a schema."""
        for schema in schemas:
            self._schemas.existing(schema)
        made = await self._catalog.organisations.create(name, title)
        return await self._enable(name, schemas) or made

    async def enable_schemas(self, name: str, *schemas: str) -> Organisation:
        """Its next login sees them; again is no error. :raises PipeError: NOT_FOUND: none of them is enabled then."""
        for schema in schemas:
            self._schemas.existing(schema)
        return await self._enable(name, schemas) or await self.existing(name)

    async def disable_schemas(self, name: str, *schemas: str) -> Organisation:
        """What was uploaded stays; again is no error. :raises PipeError: NOT_FOUND for the organisation."""
        changed = None
        for schema in schemas:
            changed = await self._catalog.organisations.disable_schema(name, schema)
        return changed or await self.existing(name)

    async def _enable(self, name: str, schemas: tuple[str, ...]) -> Organisation | None:
        changed = None
        for schema in schemas:
            changed = await self._catalog.organisations.enable_schema(name, schema)
        return changed
