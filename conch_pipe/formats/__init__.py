"""Schemas, checks and samples of CSV and JSON files.

A leaf: knows DuckDB and ijson, the core's values, and no other room."""
