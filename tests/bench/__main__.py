"""``python -m tests.bench NAME …``: measures the real service, and its rivals in the same run.

Names: small_files, big_upload, four_uploads, sessions, rows, memory, stall, upload_api, push, recordings, or ``all``.
Prints markdown for docs/performance.md. Not collected by pytest; passes or fails nothing.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench import measure, servers

NAMES = (
    "small_files",
    "big_upload",
    "four_uploads",
    "sessions",
    "rows",
    "memory",
    "stall",
    "upload_api",
    "push",
    "recordings",
)


def main() -> None:
    """Run the named benches one after the other, each in a folder of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*NAMES, "all"], metavar="NAME", help=", ".join((*NAMES, "all")))
    parser.add_argument("--rounds", type=int, help="rounds of each server (each bench has its own default)")
    parser.add_argument("--size", type=int, help="bytes of one large file")
    parser.add_argument("--folder", type=Path, help="place of all files (default: temporary; in memory, large uploads)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of our service")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and files go as they do at the end
    servers.asked_settings.update(setting.split("=", 1) for setting in asked.set)
    print(measure.circumstances())
    for name in NAMES if "all" in asked.names else asked.names:
        bench = importlib.import_module(f"tests.bench.{name}")
        takes = inspect.signature(bench.run).parameters
        options = {key: value for key, value in vars(asked).items() if key in takes and value and key != "folder"}
        # Large uploads come from memory and go there where it has room: a disk would be all that is measured.
        place = asked.folder or (measure.memory_folder(bench.ROOM) if hasattr(bench, "ROOM") else None)
        with tempfile.TemporaryDirectory(prefix="pipe-sftp-bench-", dir=place) as base:
            print(f"\n## {name}\n\n{(bench.__doc__ or '').strip()}\n")
            print(f"Source and destination are on {measure.filesystem(Path(base))}.\n")
            others = measure.Others()
            print(bench.run(Path(base), **options))
            print(f"\nMeanwhile programs that are not of the bench used {others.cores():.2f} cores.", flush=True)


if __name__ == "__main__":
    main()
