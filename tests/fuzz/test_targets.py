"""Each target holds on its own seeds, and for a bounded search guided by the code it reaches."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.fuzz.promises import DOSE
from tests.fuzz.targets import NAMES, target
from tests.ssh.evidence import ROOT

RUNS = 500 * DOSE


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_of_a_target_break_no_promise(name):
    """Whole, and each cut in the middle."""
    one, seeds = target(name).one, target(name).seeds()

    for seed in seeds:
        one(seed)
        one(seed[: len(seed) // 2])

    assert len(seeds) > 5


@pytest.fixture(scope="module")
def search() -> str:
    """What a search of all targets said; one child, because its instrumented imports are dear."""
    pytest.importorskip("atheris", reason="there is no atheris for this Python")
    found = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "all", "--runs", str(RUNS), "--seed", "7"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    return found.stdout + found.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_search_finds_nothing(search, name):
    """If it does: the traceback and the bytes are in the message, and belong into a test of their own."""
    said = re.search(rf"^{name}: nothing found$", search, re.MULTILINE)

    assert said is not None, search.partition(f"{name}: FOUND")[0][-6000:]
