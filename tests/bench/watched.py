"""twistd with a watch on its reactor: ``watched.py REPORT [twistd's own arguments]``.

A timer every 2 ms measures how late it runs; a thread notes the reactor thread's stack while it is overdue. The report
is written when the reactor stops. Phases: "starting" is the first 2 s, "running" the rest.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from pathlib import Path

EVERY_S = 0.002
OVERDUE_S = 0.025
STARTING_S = 2.0
KEPT = 10
FRAMES = 4


class Watch:
    """Lateness of one timer, in milliseconds, and the stacks of the worst."""

    def __init__(self, reactor, report: Path) -> None:
        self.reactor = reactor
        self.report = report
        self.late: dict[str, list[tuple[float, float]]] = {"starting": [], "running": []}
        self.stacks: list[tuple[float, str]] = []
        self.begun = self.due = time.perf_counter()
        self.waited = 0.0
        self.stack = ""
        self.thread = threading.get_ident()
        self.schedstat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def start(self) -> None:
        """Called by the reactor when it runs."""
        self.begun = time.perf_counter()
        self.waited = self._waited()
        self._again()
        threading.Thread(target=self._look, daemon=True).start()

    def _again(self) -> None:
        self.due = time.perf_counter() + EVERY_S
        self.reactor.callLater(EVERY_S, self._run)

    def _run(self) -> None:
        now = time.perf_counter()
        late_ms = max(0.0, now - self.due) * 1000
        waited = self._waited()
        own_ms = max(0.0, late_ms - (waited - self.waited) * 1000)
        self.waited = waited
        phase = "running" if now - self.begun > STARTING_S else "starting"
        self.late[phase].append((late_ms, own_ms))
        if phase == "running" and own_ms > OVERDUE_S * 1000:
            self.stacks = sorted([*self.stacks, (own_ms, self.stack or "(none taken)\n")], reverse=True)[:KEPT]
        self.stack = ""
        self._again()

    def _waited(self) -> float:
        """Seconds this thread was ready to run but had no core."""
        return int(self.schedstat.read_text().split()[1]) / 1e9

    def _look(self) -> None:
        while True:
            time.sleep(OVERDUE_S / 2)
            if not self.stack and time.perf_counter() > self.due + OVERDUE_S / 2:
                frame = sys._current_frames().get(self.thread)
                self.stack = "".join(traceback.format_stack(frame)[-FRAMES:])

    def stop(self) -> None:
        """Write the report."""
        phases = {}
        for phase, pairs in self.late.items():
            if pairs:
                late = sorted(pair[0] for pair in pairs)
                at = {key: late[int(len(late) * part)] for key, part in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}
                worst_own = max(pair[1] for pair in pairs)
                phases[phase] = {"count": len(late), **at, "worst": late[-1], "worst_own": worst_own}
        stacks = [{"own_ms": own_ms, "stack": stack} for own_ms, stack in self.stacks]
        self.report.write_text(json.dumps({"phases": phases, "stacks": stacks}))


def main() -> None:
    """Install the watch, then be twistd."""
    report = Path(sys.argv.pop(1))
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    watch = Watch(reactor, report)
    reactor.callWhenRunning(watch.start)
    reactor.addSystemEventTrigger("after", "shutdown", watch.stop)
    sys.argv[0] = "twistd"
    run()


if __name__ == "__main__":
    main()
