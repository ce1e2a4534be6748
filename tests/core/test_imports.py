"""The direction of imports, as DESIGN draws it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "conch_pipe"
CORE = {
    "model",
    "errors",
    "interfaces",
    "events",
    "settings",
    "crashpoints",
    "jsonlog",
    "presence",
    "progress",
    "health",
}
LEAVES = {"ssh", "formats"}
ROOMS = {
    "sftp",
    "web",
    "login",
    "intake",
    "processing",
    "remotes",
    "catalog",
    "warehouse",
    "objects",
    "processes",
    "metrics",
}
PROGRAMS = {"tap", "door", "operations", "assembly", "gateway", "cli"}
# The core's plain values may be used by a leaf; nothing else of the project.
VALUES = {"model", "errors", "crashpoints"}


def imported(path: Path) -> set[str]:
    """The first name below conch_pipe of everything a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module] if node.module != "conch_pipe" else [f"conch_pipe.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        names |= {m.split(".")[1] for m in modules if m.startswith("conch_pipe.")}
    return names


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def allowed(part: str) -> set[str]:
    if part in CORE:
        return CORE
    if part == "ssh":
        return {"ssh"}
    if part in LEAVES:
        return {part} | VALUES
    if part in ROOMS:
        return {part} | CORE | LEAVES
    if part == "operations":
        return CORE | LEAVES | ROOMS | {"operations"}
    if part == "gateway":
        return CORE | LEAVES | ROOMS | {"gateway"}
    if part == "assembly":
        return CORE | LEAVES | ROOMS | {"operations", "assembly", "gateway"}
    if part == "tap":
        return CORE | {"assembly", "gateway", "tap"}
    if part == "door":
        return CORE | {"assembly", "door", "processes"}
    return CORE | LEAVES | ROOMS | {"operations", "assembly", "cli"}


def test_every_module_belongs_to_a_named_place():
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}

    assert parts <= CORE | LEAVES | ROOMS | PROGRAMS


def test_rooms_never_import_each_other_and_leaves_know_nothing():
    wrong = {
        str(path.relative_to(PACKAGE)): sorted(imported(path) - allowed(part_of(path)))
        for path in PACKAGE.rglob("*.py")
        if part_of(path) != "__init__" and imported(path) - allowed(part_of(path))
    }

    assert wrong == {}


def test_no_module_but_the_programs_takes_the_reactor_at_import():
    """A module that imports the reactor at its top level cannot be tested with a Clock."""
    takers = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom)
        and node.module == "twisted.internet"
        and any(alias.name == "reactor" for alias in node.names)
    ]

    assert set(takers) <= {"tap.py"}


@pytest.mark.parametrize(
    "module", ["conch_pipe.processing.child", "conch_pipe.formats.check", "conch_pipe.warehouse.duckdb_loader"]
)
def test_a_worker_process_does_not_load_twisted(module):
    """Each worker would pay for it at every start, and no function in it can use it."""
    assert slow_ones(module) == []


def test_the_command_loads_twisted_only_for_what_needs_it():
    """It would double the time until --help is there."""
    assert slow_ones("conch_pipe.cli.program") == []


def slow_ones(module: str) -> list[str]:
    """What a module brings with it."""
    program = f"import sys, {module}; print(*sorted({{'twisted', 'zope.interface'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()
