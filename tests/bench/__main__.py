"""``python -m tests.bench NAME …``: measures the real service, and its rivals in the same run.

Names: small_files, big_upload, sessions, rows, memory, stall, or ``all``. Prints markdown for docs/performance.md.
Not collected by pytest; passes or fails nothing.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

from tests.bench import measure

NAMES = ("small_files", "big_upload", "sessions", "rows", "memory", "stall")


def main() -> None:
    """Run the named benches one after the other, each in a folder of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*NAMES, "all"], metavar="NAME", help=", ".join((*NAMES, "all")))
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each server (each bench has its own default)")
    parser.add_argument("--folder", type=Path, help="where servers keep their files (default: the temporary folder)")
    asked = parser.parse_args()
    names = NAMES if "all" in asked.names else asked.names
    with tempfile.TemporaryDirectory(prefix="pipe-sftp-bench-", dir=asked.folder) as base:
        print(measure.circumstances(Path(base)))
        for name in names:
            bench = importlib.import_module(f"tests.bench.{name}")
            folder = Path(base) / name
            folder.mkdir()
            rounds = (asked.rounds,) if asked.rounds else ()
            print(f"\n## {name}\n\n{(bench.__doc__ or '').strip()}\n")
            print(bench.run(folder, *rounds), flush=True)


if __name__ == "__main__":
    main()
