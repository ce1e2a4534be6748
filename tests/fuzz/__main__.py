"""``python -m tests.fuzz TARGET``: search for bytes that break a promise, guided by the code they reach.

A finding ends the search with its traceback and is kept as a file ``crash-…`` in the corpus folder;
``python -m tests.fuzz TARGET FILE…`` runs such files again, without atheris.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from pathlib import Path

from twisted.logger import globalLogBeginner


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", help="name of a module in tests/fuzz/targets, or all")
    parser.add_argument("files", nargs="*", type=Path, help="inputs to run once, in place of a search")
    parser.add_argument("--seconds", type=int, default=60, help="how long to search (default 60)")
    parser.add_argument("--runs", type=int, help="how many inputs to try, in place of --seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the search; 0 is a new one each time")
    parser.add_argument("--corpus", type=Path, help="folder of inputs that reach new code, kept for the next search")
    return parser.parse_args()


def _search(name: str, given: argparse.Namespace, corpus: Path) -> None:
    """Never returns: the process ends with 0, or with another status after a finding."""
    import atheris

    from tests.fuzz.targets import target

    module = target(name)
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in module.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    limit = [f"-runs={given.runs}"] if given.runs else [f"-max_total_time={given.seconds}", "-timeout=20"]
    options = [
        f"-seed={given.seed}",
        f"-artifact_prefix={corpus}/",
        "-max_len=4096",
        "-len_control=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *limit, *options, str(corpus)], module.one)
    atheris.Fuzz()


def main() -> int:
    given = _arguments()
    # Until logging begins Twisted keeps every event, and with it every connection.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    if given.files:
        from tests.fuzz.targets import target

        for file in given.files:
            target(given.target).one(file.read_bytes())
        return 0
    import atheris

    with atheris.instrument_imports(include=["conch_pipe.ssh"], enable_loader_override=False):
        from tests.fuzz.targets import NAMES, target

        names = NAMES if given.target == "all" else [given.target]
        for name in names:
            target(name)

    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            # libFuzzer ends its process, so each search has one; the imports are shared.
            child = os.fork()
            if not child:
                _search(name, given, given.corpus / name if given.corpus else Path(folder, name))
            _, ended = os.waitpid(child, 0)
            status = os.waitstatus_to_exitcode(ended)
            print(f"{name}: {'nothing found' if status == 0 else f'FOUND SOMETHING (status {status})'}", flush=True)
            if status and not given.corpus:
                for crash in Path(folder, name).glob("crash-*"):
                    print(f"{name}: {crash.read_bytes().hex()}", flush=True)
            worst = worst or status
    return worst


if __name__ == "__main__":
    sys.exit(main())
