"""The worker program: runs one function at a time under limits, as its parent asks.

Started by ``workers.py`` as ``python -m conch_pipe.processing.child CONFIG``; one JSON document per line each way.
A request is ``{"id", "function", "arguments"}``, an answer ``{"id", "rss", "result"}`` or ``{"id", "rss", "error"}``.
Knows nothing of files or schemas, and never imports Twisted.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import json
import math
import os
import resource
import signal
import sys
import threading
import traceback
from queue import SimpleQueue
from typing import Any, BinaryIO

from conch_pipe.errors import Code, PipeError

LINE_BYTES = 4 << 20  # the longest document, either way; a schema file of 1 MiB, escaped, is in a request
TOO_BIG = "the file needs more memory than allowed"
SHORTAGES = {
    errno.ENOMEM: (Code.FAILED, TOO_BIG),  # mmap says so where malloc raises MemoryError
    errno.ENOSPC: (Code.NO_SPACE, "no space left for work files"),
    errno.EDQUOT: (Code.NO_SPACE, "no space left for work files"),
}
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Move the pipes out of the way of anything a function may print or read.

    :returns: requests and answers. Afterwards descriptor 0 is empty and descriptor 1 is the log.
    """
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return os.fdopen(requests, "rb"), os.fdopen(answers, "wb")


def _die_with(parent: int) -> None:
    """End this process when its parent has ended, however that came."""
    with contextlib.suppress(OSError, AttributeError):  # only Linux has prctl; the end of stdin does it elsewhere
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before prctl was called
        os._exit(0)


def _restrain(memory_bytes: int, files: int, niceness: int) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))
    os.umask(0o077)
    os.nice(niceness)
    # Ctrl-C and systemd signal the whole group; a drain needs its workers until the parent ends them.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _allow_cpu(seconds: float) -> None:
    """From now on so many CPU seconds until SIGXCPU ends this process; whole seconds, rounded up."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(spent.ru_utime + spent.ru_stime + seconds)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - pathlib costs more than the read
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _error(code: Code, message: str, detail: str) -> dict[str, Any]:
    return {"error": {"code": code.value, "message": message[:1000], "detail": detail[-8192:]}}


def answer(request: dict[str, Any]) -> bytes:
    """Run the function a request names and put what came of it into one line.

    :returns: a document of at most LINE_BYTES with its line end.
    """
    try:
        module, _, name = request["function"].partition(":")
        result = getattr(importlib.import_module(module), name)(request["arguments"])
        if not isinstance(result, dict):
            raise TypeError(f"{name} returned {type(result).__name__}, not a dict")
        body = {"result": result}
        size = len(json.dumps(body))
        if size > LINE_BYTES - 1024:
            body = _error(Code.FAILED, "internal error", f"the result has {size} bytes")
    except PipeError as error:
        body = _error(error.code, error.message, error.detail)
    except MemoryError:
        body = _error(Code.FAILED, TOO_BIG, traceback.format_exc())
    except OSError as error:
        code, message = SHORTAGES.get(error.errno or 0, (Code.FAILED, "internal error"))
        body = _error(code, message, traceback.format_exc())
    except Exception:  # noqa: BLE001 - the runner's edge, on this side of the pipe
        body = _error(Code.FAILED, "internal error", traceback.format_exc())
    return json.dumps({"id": request["id"], "rss": _resident(), **body}).encode() + b"\n"


def _receive(requests: BinaryIO, arrived: SimpleQueue[bytes]) -> None:
    """Thread: hand over requests; the end of stdin is the parent's end, also in the middle of a call."""
    while line := requests.readline(LINE_BYTES + 1):
        arrived.put(line)
    os._exit(0)


def main() -> None:
    """Serve until the parent is gone."""
    config = json.loads(sys.argv[1])
    requests, answers = _take_streams()
    _die_with(config["parent"])
    _restrain(config["memory_bytes"], config["files"], config["nice"])
    for module in config["modules"]:
        importlib.import_module(module)
    arrived: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests, arrived), daemon=True).start()
    answers.write(b'{"ready": true}\n')
    answers.flush()
    while True:
        request = json.loads(arrived.get())
        _allow_cpu(config["cpu_s"])
        answers.write(answer(request))
        answers.flush()


if __name__ == "__main__":
    main()
