"""Statements that run so often that what SQLAlchemy does around the driver would cost more than they do.

Each is compiled once for a dialect and then runs on the driver's own cursor, in the connection's transaction; values
are converted by the types of the tables, and errors are SQLAlchemy's, as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Table, Update, bindparam, insert
from sqlalchemy.exc import DBAPIError

Convert = Callable[[Any], Any]


class Prepared:
    """A statement; it must have no parameter that stands for a list.

    :param statement: its parameters are named by ``bindparam``; of an Insert, each column has one of its name.
    """

    def __init__(self, statement: Select[Any] | Insert | Update | Delete) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, values: Mapping[str, Any]) -> list[list[Any]]:
        """Run it. :returns: the rows of a Select. :raises DBAPIError: as ``connection.execute`` does."""
        return self._run(connection, values)[0]

    def change(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run an Update or Delete. :returns: how many rows it concerned. :raises DBAPIError: as :meth:`run`."""
        return self._run(connection, values)[1]

    def _run(self, connection: Connection, values: Mapping[str, Any]) -> tuple[list[list[Any]], int]:
        compiled = self._compiled.get(connection.dialect.name)
        if compiled is None:
            compiled = self._compiled[connection.dialect.name] = _Compiled(self._statement, connection.dialect)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(compiled.text, compiled.parameters(values))
            rows = compiled.rows(cursor.fetchall()) if compiled.gives_rows else []
            return rows, cursor.rowcount
        except compiled.Error as error:
            raise DBAPIError.instance(
                compiled.text, None, error, compiled.Error, hide_parameters=True, dialect=connection.dialect
            ) from error
        finally:
            cursor.close()


def addition(table: Table) -> Prepared:
    """An Insert of one row; the table numbers its ``id`` itself."""
    columns: dict[str, Any] = {column.name: bindparam(column.name) for column in table.c if column.name != "id"}
    return Prepared(insert(table).values(columns).inline())


def tell(connection: Connection, text: str) -> None:
    """Run a statement that has no values and gives no rows. :raises DBAPIError: as ``exec_driver_sql`` does."""
    cursor = connection.connection.cursor()
    error_class: Any = connection.dialect.loaded_dbapi.Error
    try:
        cursor.execute(text)
    except error_class as error:
        raise DBAPIError.instance(
            text, None, error, error_class, hide_parameters=True, dialect=connection.dialect
        ) from error
    finally:
        cursor.close()


class _Compiled:
    """A statement's text for one dialect, with what converts its values."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self.Error: Any = dialect.loaded_dbapi.Error
        self.gives_rows = isinstance(statement, Select)
        self._positional = bool(compiled.positional)
        names = compiled.positiontup if self._positional else list(compiled.binds)
        known = compiled.construct_params(_check=False)
        self._names = [(name, known[name]) for name in names]
        converts = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
        self._converts = [(place, convert) for place, convert in enumerate(converts) if convert is not None]
        columns = statement.selected_columns if self.gives_rows else ()
        self._columns: list[tuple[int, Convert]] = []
        for place, column in enumerate(columns):
            convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if convert is not None:
                self._columns.append((place, convert))

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """In the driver's form."""
        found = [values.get(name, known) for name, known in self._names]
        for place, convert in self._converts:
            found[place] = convert(found[place])
        if self._positional:
            return found
        return dict(zip((name for name, _ in self._names), found, strict=True))

    def rows(self, found: Sequence[Any]) -> list[list[Any]]:
        """In Python's types."""
        converted = []
        for row in found:
            values = list(row)
            for place, convert in self._columns:
                values[place] = convert(values[place])
            converted.append(values)
        return converted
