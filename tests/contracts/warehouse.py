"""What every IWarehouse promises; an implementation subclasses this and says how it is made and asked.

Fixtures of the subclass: ``warehouse``, whose Deferreds have fired, and ``ask``, a function of an SQL statement that
gives the rows.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import duckdb
import pytest
from zope.interface.verify import verifyObject

from conch_pipe.errors import Code, PipeError
from conch_pipe.formats.schema import Schema
from conch_pipe.interfaces import IWarehouse
from conch_pipe.model import State, Upload
from tests.contracts.objects import result

SCHEMA = Schema("orgShifts", (), table="shifts")
RECEIVED = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
ROWS = """
    SELECT i + 1 AS _row, i AS id, 'n' || i AS name, (i / 4)::DECIMAL(18,4) AS amount, i % 2 = 0 AS active,
        DATE '2026-01-01' + i::INTEGER AS day, TIMESTAMPTZ '2026-01-01 00:00:00+02' AS starts FROM range({}) AS t(i)
"""


def an_upload(number: int = 1) -> Upload:
    """A record with an id that ends in a number."""
    return Upload(
        id=UUID(int=0x0193A1B2C3D47000800000000000000 << 4 | number),
        organisation="acme",
        client_id="pipe_a",
        door="sftp",
        schema="orgShifts",
        name="it's.csv",
        state=State.PROCESSING,
        bytes=1,
        sha256="ab" * 32,
        received_at=RECEIVED,
    )


class WarehouseContract:
    """The cases."""

    @pytest.fixture
    def parquet(self, tmp_path):
        """Writes the rows of a SELECT as validation would."""
        made = iter(range(1000))

        def write(select: str):
            path = tmp_path / f"rows{next(made)}.parquet"
            duckdb.connect().execute(f"SET TimeZone = 'UTC'; COPY ({select}) TO '{path}' (FORMAT parquet)")
            return path

        return write

    def test_it_provides_the_interface(self, warehouse):
        assert verifyObject(IWarehouse, warehouse)

    def test_rows_without_a_number_are_numbered_by_their_place(self, warehouse, ask, parquet):
        """What validation writes of a file in which every record is good."""
        rows = parquet("SELECT 'n' || i AS name FROM range(300000) t(i)")

        assert result(warehouse.load(SCHEMA, an_upload(), rows)) == 300_000

        assert ask("SELECT count(*) FILTER (name <> 'n' || (_row - 1)), min(_row), max(_row) FROM shifts") == [
            (0, 1, 300_000)
        ]

    def test_rows_arrive_as_they_were_validated_with_where_they_came_from(self, warehouse, ask, parquet):
        upload = an_upload()

        loaded = result(warehouse.load(SCHEMA, upload, parquet(ROWS.format(3))))

        assert loaded == 3
        assert ask("SELECT _row, id, name, amount, active, day, starts FROM shifts ORDER BY _row")[1] == (
            2,
            1,
            "n1",
            Decimal("0.2500"),
            False,
            date(2026, 1, 2),
            datetime(2025, 12, 31, 22, tzinfo=UTC),
        )
        assert ask("SELECT DISTINCT _upload_id, _organisation, _loaded_at FROM shifts") == [
            (upload.id, "acme", datetime(2027, 1, 15, 8, tzinfo=UTC).replace(tzinfo=None))
        ]

    def test_the_ledger_names_each_upload(self, warehouse, ask, parquet):
        upload = an_upload()

        result(warehouse.load(SCHEMA, upload, parquet(ROWS.format(3))))

        assert ask(
            'SELECT upload_id, organisation, client_id, "schema", table_name, name, sha256, rows FROM _uploads'
        ) == [(upload.id, "acme", "pipe_a", "orgShifts", "shifts", "it's.csv", "ab" * 32, 3)]

    def test_an_upload_loaded_again_changes_nothing(self, warehouse, ask, parquet):
        rows = parquet(ROWS.format(3))
        first = result(warehouse.load(SCHEMA, an_upload(), rows))

        again = result(warehouse.load(SCHEMA, an_upload(), rows))

        assert (first, again) == (3, 3)
        assert ask("SELECT count(*) FROM shifts") == [(3,)]
        assert ask("SELECT count(*) FROM _uploads") == [(1,)]

    def test_it_says_whether_an_upload_is_loaded_and_makes_nothing_by_it(self, warehouse, ask, parquet):
        loaded, other = an_upload(1), an_upload(2)
        assert result(warehouse.rows(loaded.id)) is None

        result(warehouse.load(SCHEMA, loaded, parquet(ROWS.format(3))))

        assert result(warehouse.rows(loaded.id)) == 3
        assert result(warehouse.rows(other.id)) is None
        assert ask("SELECT count(*) FROM _uploads") == [(1,)]

    def test_the_same_rows_of_another_upload_are_added(self, warehouse, ask, parquet):
        rows = parquet(ROWS.format(3))

        for number in (1, 2):
            result(warehouse.load(SCHEMA, an_upload(number), rows))

        assert ask("SELECT count(*), count(DISTINCT _upload_id) FROM shifts") == [(6, 2)]

    def test_an_upload_without_rows_is_in_the_ledger(self, warehouse, ask, parquet):
        assert result(warehouse.load(SCHEMA, an_upload(), parquet(ROWS.format(0)))) == 0
        assert ask("SELECT rows FROM _uploads") == [(0,)]

    def test_of_a_parquet_of_several_uploads_each_gets_its_own_rows(self, warehouse, ask, parquet, tmp_path):
        """What validation writes of small files that were checked together, with a name of it for each."""
        names = [tmp_path / f"{number}.parquet" for number in (1, 2, 3)]
        few = [f"SELECT '{name}' AS _file, * FROM ({ROWS.format(n)})" for n, name in zip((2, 3), names, strict=False)]
        written = parquet(" UNION ALL ".join(few))
        for name in names:
            name.hardlink_to(written)

        loaded = [result(warehouse.load(SCHEMA, an_upload(n), name)) for n, name in enumerate(names, 1)]

        assert loaded == [2, 3, 0]
        each = "SELECT count(*), min(_row), max(_row), max(id) FROM shifts GROUP BY _upload_id ORDER BY 1"
        assert ask(each) == [(2, 1, 2, 1), (3, 1, 3, 2)]
        assert "_file" not in [column for column, *_ in ask("DESCRIBE shifts")]
        assert ask("SELECT rows FROM _uploads ORDER BY upload_id") == [(2,), (3,), (0,)]

    def test_each_schema_has_its_table(self, warehouse, ask, parquet):
        result(warehouse.load(SCHEMA, an_upload(1), parquet("SELECT 1 AS _row, 1 AS a")))
        result(warehouse.load(replace(SCHEMA, table="users"), an_upload(2), parquet("SELECT 1 AS _row, 'x' AS b")))

        assert (ask("SELECT a FROM shifts"), ask("SELECT b FROM users")) == ([(1,)], [("x",)])

    def test_a_new_column_is_added_and_is_null_in_old_rows(self, warehouse, ask, parquet):
        result(warehouse.load(SCHEMA, an_upload(1), parquet("SELECT 1 AS _row, 1 AS a")))

        result(warehouse.load(SCHEMA, an_upload(2), parquet("SELECT 1 AS _row, 2 AS a, 'x' AS b")))

        assert ask("SELECT a, b FROM shifts ORDER BY a") == [(1, None), (2, "x")]

    def test_a_column_the_schema_lost_stays_and_is_null_in_new_rows(self, warehouse, ask, parquet):
        result(warehouse.load(SCHEMA, an_upload(1), parquet("SELECT 1 AS _row, 1 AS a, 'x' AS b")))

        result(warehouse.load(SCHEMA, an_upload(2), parquet("SELECT 1 AS _row, 2 AS a")))

        assert ask("SELECT a, b FROM shifts ORDER BY a") == [(1, "x"), (2, None)]

    def test_columns_may_come_in_another_order(self, warehouse, ask, parquet):
        result(warehouse.load(SCHEMA, an_upload(1), parquet("SELECT 1 AS _row, 'a' AS a, 'b' AS b")))

        result(warehouse.load(SCHEMA, an_upload(2), parquet("SELECT 'b' AS b, 'a' AS a, 1 AS _row")))

        assert ask("SELECT DISTINCT a, b FROM shifts") == [("a", "b")]

    def test_a_column_that_changed_its_type_is_refused_and_nothing_is_loaded(self, warehouse, ask, parquet):
        result(warehouse.load(SCHEMA, an_upload(1), parquet("SELECT 1 AS _row, 1 AS a")))

        with pytest.raises(PipeError, match="column a is INTEGER in the warehouse and VARCHAR in the schema") as caught:
            result(warehouse.load(SCHEMA, an_upload(2), parquet("SELECT 1 AS _row, 'x' AS a, 2 AS b")))

        assert caught.value.code is Code.FAILED
        assert ask("SELECT * EXCLUDE (_loaded_at, _upload_id, _organisation) FROM shifts") == [(1, 1)]
        assert ask("SELECT count(*) FROM _uploads") == [(1,)]

    def test_names_are_never_read_as_sql(self, warehouse, ask, parquet):
        table = 'x"; DROP TABLE _uploads; --'
        rows = parquet('SELECT 1 AS _row, 1 AS "select", 2 AS "a""b c"')

        result(warehouse.load(replace(SCHEMA, table=table), an_upload(), rows))

        assert ask('SELECT "select", "a""b c" FROM "x""; DROP TABLE _uploads; --"') == [(1, 2)]
        assert ask("SELECT count(*) FROM _uploads") == [(1,)]

    @pytest.mark.parametrize(
        ("table", "column"), [("_uploads", "a"), ("shifts", "_Upload_Id"), ("shifts", "_loaded_at")]
    )
    def test_a_schema_cannot_take_our_own_names(self, warehouse, parquet, table, column):
        with pytest.raises(PipeError, match="a name that the warehouse needs") as caught:
            result(
                warehouse.load(replace(SCHEMA, table=table), an_upload(), parquet(f"SELECT 1 AS _row, 1 AS {column}"))
            )
        assert caught.value.code is Code.FAILED
