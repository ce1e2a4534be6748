"""Reading the machine and printing what was found: CPU seconds and memory from /proc, medians, spreads, tables."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int, *, with_reaped: bool = False) -> float:
    """CPU seconds a process has used so far, user and system.

    :param with_reaped: also those of its children that have ended and were waited for.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11 : 15 if with_reaped else 13]) * _TICK_S


def rss_bytes(pid: int) -> int:
    """Resident memory of a process now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def pss_bytes(pid: int) -> int:
    """Memory of a process now, shared pages counted by their share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def reset_peak(pid: int) -> None:
    """Let ``peak_bytes`` count from now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """Highest resident memory of a process since ``reset_peak``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def descendants(pid: int) -> list[int]:
    """Process ids of the children alive now, of theirs, and so on."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def children(pid: int) -> list[int]:
    """Process ids of the children alive now."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def figure(values: Sequence[float], digits: int = 0) -> str:
    """The median, and in brackets the least and the greatest: ``1,936 (1,880–2,010)``."""
    if not values:
        return "–"
    middle, least, most = statistics.median(values), min(values), max(values)
    text = f"{middle:,.{digits}f}"
    return text if len(values) == 1 else f"{text} ({least:,.{digits}f}–{most:,.{digits}f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Our median by theirs."""
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}" if ours and theirs else "–"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "none"
    return (done.stdout or done.stderr).splitlines()[0].split(",")[0].strip()


def circumstances(folder: Path) -> str:
    """What a figure must not be given without: machine, versions, file system, command, time."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    filesystem = _said("stat", "-f", "-c", "%T", str(folder))
    ours = ", ".join(f"{name} {version(name)}" for name in ("Twisted", "cryptography", "duckdb", "asyncssh"))
    return "\n".join(
        [
            f"* {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores ({model}), Linux {platform.release()}, "
            f"files on {filesystem}, loopback",
            f"* {_said('ssh', '-V')}, Python {platform.python_version()}, {ours}",
            f"* command: `python -m tests.bench {shlex.join(sys.argv[1:])}`",
            "* median of the rounds (least–greatest); rounds of all servers interleaved",
        ]
    )
