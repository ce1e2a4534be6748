"""Whether the tests that a table names as its evidence are there.

A test is named by its id, as pytest takes it on the command line: ``tests/ssh/test_login.py::Login::test_…``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def _tests(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return frozenset(found)


def missing(test_ids: Iterable[str]) -> list[str]:
    """Those of the ids that name no test."""
    lost = []
    for test_id in test_ids:
        file, _, name = test_id.partition("::")
        if not name.rpartition("::")[2].startswith("test_") or name not in _tests(ROOT / file):
            lost.append(test_id)
    return lost
