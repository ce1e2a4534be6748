"""Loaders into the analytics database."""

from conch_pipe.warehouse.duckdb_file import DuckDBWarehouse
from conch_pipe.warehouse.reading import query

__all__ = ["DuckDBWarehouse", "query"]
