"""Reading the machine and printing what was found: CPU seconds and memory from /proc, medians, spreads, tables."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int, *, with_reaped: bool = False) -> float:
    """CPU seconds a process has used so far, user and system.

    :param with_reaped: also those of its children that have ended and were waited for.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile, and is its parent's to count
        return 0.0
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


def family_cpu_s(pid: int, *, leaving_out: bytes = b"") -> float:
    """CPU seconds of a process and of all below it, also of those that ended and were waited for.

    :param leaving_out: children whose command line has this word do not count, nor does any that ended.
    """
    return sum(cpu_s(each, with_reaped=not leaving_out) for each in family(pid, leaving_out))


def family(pid: int, leaving_out: bytes = b"") -> list[int]:
    """A process and all below it now, but for those whose command line has a word."""
    return [each for each in (pid, *descendants(pid)) if not leaving_out or leaving_out not in _command(each)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return b""


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


class Results:
    """What the rounds gave: values by case (a server, or a server and a way of using it) and quantity."""

    def __init__(self) -> None:
        self._values: dict[tuple[Hashable, str], list[float]] = {}

    def note(self, case: Hashable, **quantities: float) -> None:
        """One round's values."""
        for quantity, value in quantities.items():
            self._values.setdefault((case, quantity), []).append(value)

    def figure(self, case: Hashable, quantity: str, digits: int = 0) -> str:
        """See ``figure``."""
        return figure(self._values.get((case, quantity), []), digits)

    def ratio(self, case: Hashable, other: Hashable, floor: float | None = None, quantity: str = "rate") -> list[str]:
        """Two cells: the medians' ratio with the median of the rounds' own ratios, and whether the floor is reached."""
        ours, theirs = self._values.get((case, quantity), []), self._values.get((other, quantity), [])
        if case == other or not ours or not theirs:
            return ["" if case == other else "–", ""]
        found = statistics.median(ours) / statistics.median(theirs)
        rounds = statistics.median(one / another for one, another in zip(ours, theirs, strict=True))
        return [f"{found:.2f} ({rounds:.2f})", "" if floor is None else verdict(f"≥ {floor}", found >= floor)]

    def at_most(self, case: Hashable, quantity: str, most: float) -> str:
        """A cell: whether the median keeps within a bound."""
        values = self._values.get((case, quantity), [])
        return verdict(f"≤ {most}", statistics.median(values) <= most) if values else "–"


RATIO = "ratio of medians (median of the rounds' ratios)"


def verdict(wanted: str, reached: bool) -> str:
    """A cell for what is asked for: ``≥ 2.2 yes``."""
    return f"{wanted} {'yes' if reached else '**no**'}"


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


class Others:
    """How many cores programs that are not of the bench have used since it was made."""

    def __init__(self) -> None:
        self._begun, self._used = time.monotonic(), self._others_s()

    def cores(self) -> float:
        """On average; the kernel's own work for the bench is in it."""
        return max(0.0, self._others_s() - self._used) / (time.monotonic() - self._begun)

    def _others_s(self) -> float:
        user, nice, system, _idle, _waiting, *interrupts = map(
            int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        )
        return (user + nice + system + sum(interrupts)) * _TICK_S - family_cpu_s(os.getpid())


def filesystem(folder: Path) -> str:
    """What kind of file system a folder is on."""
    return _said("stat", "-f", "-c", "%T", str(folder))


def memory_folder(need: int) -> Path | None:
    """A folder in memory where that many bytes fit, or None."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return None
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    return folder if min(available, shutil.disk_usage(folder).free) > need else None


def circumstances() -> str:
    """What a figure must not be given without: machine, versions, file system, command, time."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    ours = ", ".join(f"{name} {version(name)}" for name in ("Twisted", "cryptography", "duckdb", "asyncssh"))
    return "\n".join(
        [
            f"* {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores ({model}), Linux {platform.release()}, "
            "loopback",
            f"* {_said('ssh', '-V')}, {_said('rclone', 'version')}, Python {platform.python_version()}, {ours}",
            f"* command: `python -m tests.bench {shlex.join(sys.argv[1:])}`",
            "* median of the rounds (least–greatest); rounds of all servers interleaved",
        ]
    )
