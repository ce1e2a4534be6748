"""What the workers of the tests run: functions of one dict, also hostile ones."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

from conch_pipe.crashpoints import crashpoint
from conch_pipe.errors import Code, PipeError


def echo(arguments: dict) -> dict:
    return arguments


def pid(arguments: dict) -> dict:
    return {"pid": os.getpid()}


def surroundings(arguments: dict) -> dict:
    umask = os.umask(0)
    os.umask(umask)
    return {"environment": dict(os.environ), "umask": umask, "folder_on_path": "" in sys.path, "nice": os.nice(0)}


def sleep(arguments: dict) -> dict:
    if "flag" in arguments:
        Path(arguments["flag"]).write_text(str(os.getpid()))
    time.sleep(arguments["seconds"])
    return {}


def spin(arguments: dict) -> dict:
    while True:
        pass


def hog(arguments: dict) -> dict:
    kept = []
    while True:
        kept.append(bytearray(64 << 20))


def keep(arguments: dict) -> dict:
    """Stay big after the call."""
    _kept.append(b"x" * arguments["bytes"])
    return {"pid": os.getpid()}


_kept: list[bytes] = []


def say(arguments: dict) -> dict:
    print('{"id": 1, "result": {"forged": true}}', flush=True)
    os.write(1, b'{"id": 2, "result": {"forged": true}}\n' * 100)
    return {"read": sys.stdin.read()}


def pass_by(arguments: dict) -> dict:
    crashpoint(arguments["label"])
    return {}


def abort(arguments: dict) -> dict:
    os.abort()


def crash(arguments: dict) -> dict:
    return {"byte": ctypes.string_at(0)}


def leave(arguments: dict) -> dict:
    sys.exit(7)


def garble(arguments: dict) -> dict:
    """Write into the answers' pipe itself, wherever it is."""
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, arguments["line"].encode() + b"\n")
        except OSError:
            continue
    time.sleep(30)
    return {}


def flood(arguments: dict) -> dict:
    for descriptor in range(3, 16):
        try:
            for _ in range(100):
                os.write(descriptor, b"x" * 65536)
        except OSError:
            continue
    time.sleep(30)
    return {}


def refuse(arguments: dict) -> dict:
    raise PipeError(Code.BAD_FILE, "the header has no column id", "detail for the log")


def divide(arguments: dict) -> dict:
    return {"quotient": 1 / 0}


def unsendable(arguments: dict) -> dict:
    return {"what": object()}


def fail(arguments: dict) -> dict:
    raise OSError(arguments["errno"], "as the system says")


def nothing(arguments: dict) -> None:
    return None


def long(arguments: dict) -> dict:
    return {"text": "x" * arguments["bytes"]}


def distinct(arguments: dict) -> dict:
    """More memory than the process may have, inside DuckDB, whose own limit is below the process's."""
    import duckdb

    connection = duckdb.connect(":memory:", config={"memory_limit": arguments["memory_limit"], "threads": 2})
    connection.execute(f"SET temp_directory='{arguments['folder']}'")
    query = f"SELECT count(*) FROM (SELECT DISTINCT i::VARCHAR || repeat('x', 40) FROM range({arguments['rows']}) t(i))"
    return {"rows": connection.execute(query).fetchone()[0]}


def burn(arguments: dict) -> dict:
    end = time.process_time() + arguments["seconds"]
    while time.process_time() < end:
        pass
    return {}


def check(arguments: dict) -> dict:
    """A small ``check_file``: the file's text says what happens, else each line is a good row."""
    path = Path(arguments["path"])
    text = path.read_text()
    if text in ("abort", "crash"):
        return {"abort": abort, "crash": crash}[text](arguments)
    seen = path.with_name(path.name + ".seen")
    if text == "slow once" and not seen.exists():
        seen.write_text(str(os.getpid()))
        time.sleep(0.5)
    Path(arguments["parquet"]).write_text(text)
    return {
        "rows": len(text.splitlines()),
        "rejected": 0,
        "accepted": True,
        "problems": [],
        "problem_count": 0,
    }
