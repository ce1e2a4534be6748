"""The Upload API: a form of 100 MB, small files and questions by curl, beside small files over SFTP in the same run.

Small files have 2 KB. "kept": one connection for all requests of a client; "new": one for each. The service's worker
processes stand still, so that rows of one round do not disturb the next. Logins are not counted; curl's own start is.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

from conch_pipe.cli.api_client import Api, Place
from tests.bench import measure, small_files
from tests.bench.measure import Results, table
from tests.bench.servers import SCHEMA, Door, Ours, running
from tests.bench.stall import lateness
from tests.live.material import large_csv

LARGE_BYTES = 100_000_000
LARGE_MB, STALL_MS = 16, 50
REQUESTS = {1: 1000, 8: 250}  # clients at once: requests of each; files over SFTP are as many
KINDS = ("upload", "status")


def run(folder: Path, rounds: int = 5) -> str:
    """:returns: the tables."""
    return f"{_large(folder, rounds)}\n\n{_small(folder, rounds)}"


# One large form


def _large(folder: Path, rounds: int) -> str:
    report = folder / "stalls.json"
    watched = [sys.executable, str(Path(__file__).with_name("watched.py")), str(report)]
    ours = Ours(folder / "watched", program=[*watched, "-n", "--pidfile="])
    results = Results()
    with running(ours):
        local, first = folder / "form.csv", folder / "first.csv"
        large_csv(local, LARGE_BYTES)
        large_csv(first, small_files.BYTES)
        _form(ours, first)  # what the first upload loads for good is not the large one's
        ours.settle()
        for _ in range(rounds):
            before = measure.rss_bytes(ours.pid())
            measure.reset_peak(ours.pid())
            took = _form(ours, local)
            grown = (measure.peak_bytes(ours.pid()) - before) / 1e6
            results.note(ours.name, grown=grown, rate=LARGE_BYTES / 1e6 / took)
            ours.settle()
    found = json.loads(report.read_text())
    worst, own = (found["phases"]["running"][key] for key in ("worst", "worst_own"))
    bounds = (
        f"A form of 100 MB: {results.figure(ours.name, 'rate')} MB/s, growth of resident memory in MB "
        f"{results.figure(ours.name, 'grown', 1)}, {results.at_most(ours.name, 'grown', LARGE_MB)}; the worst lateness "
        f"of the reactor {worst:.1f} ms, without waiting for a core {own:.1f}, "
        f"{measure.verdict(f'≤ {STALL_MS}', own <= STALL_MS)}."
    )
    return f"{bounds}\n\n{lateness(found)}"


def _form(ours: Ours, file: Path) -> float:
    """Send a file as a form. :returns: seconds."""
    name = f"{file.stem}-{time.time_ns()}.csv"
    lines = [*_head(ours), f'url = "{_url(ours)}/upload"', f'form = "schemaType={SCHEMA}"']
    begun = time.perf_counter()
    _curl(ours, [[[*lines, f'form = "file=@{file};filename={name}"']]])
    return time.perf_counter() - begun


# Many small requests


def _small(folder: Path, rounds: int) -> str:
    door = Door(folder / "door")
    results = Results()
    with running(door):
        local = folder / "small.csv"
        large_csv(local, small_files.BYTES)
        for number in range(rounds):
            for at_once in REQUESTS:
                _, measured = small_files.put(door, local, at_once, number)
                results.note(("sftp", "", at_once), rate=measured["rate"], server=measured["server"])
                for kind in KINDS:
                    for kept in (True, False):
                        results.note((kind, kept, at_once), **_round(door, local, kind, kept, at_once, number))
                door.settle()
    cases = [("sftp", "", "file over SFTP, one session")]
    cases += [(kind, kept, f"{kind}, {'kept' if kept else 'new'}") for kind in KINDS for kept in (True, False)]
    rows = [
        [
            str(at_once),
            label,
            results.figure((what, kept, at_once), "rate"),
            results.figure((what, kept, at_once), "server", 2),
            *results.ratio((what, kept, at_once), ("sftp", "", at_once))[:1],
        ]
        for at_once in REQUESTS
        for what, kept, label in cases
    ]
    heads = ["clients", "request, connection", "requests/s", "server CPU ms each", f"this / SFTP, {measure.RATIO}"]
    return table(heads, rows)


def _round(door: Ours, local: Path, kind: str, kept: bool, at_once: int, number: int) -> dict[str, float]:
    """One kind of request, so many times. :returns: requests/s, and CPU milliseconds of the server for each."""
    head, url = _head(door), _url(door)
    if not kept:
        head.append('header = "Connection: close"')
    clients = []
    for client in range(at_once):
        names = [f"{kind}-{kept}-{at_once}-{number}-{client}-{index}.csv" for index in range(REQUESTS[at_once])]
        if kind == "upload":
            what = ['header = "Content-Type: text/csv"', f'data-binary = "@{local}"']
            clients.append(
                [[*head, *what, f'url = "{url}/upload?schemaType={SCHEMA}&fileName={name}"'] for name in names]
            )
        else:
            one = _known_upload(door)
            clients.append([[*head, f'url = "{url}/upload/{one}/status"'] for _ in names])
    served, begun = door.cpu_s(), time.perf_counter()
    _curl(door, clients)
    took, served = time.perf_counter() - begun, door.cpu_s() - served
    requests = at_once * REQUESTS[at_once]
    return {"rate": requests / took, "server": served / requests * 1000}


def _curl(ours: Ours, clients: list[list[list[str]]]) -> None:
    """Run clients at once, each with its requests in the lines of curl's configuration.

    :raises AssertionError: one was not answered well.
    """
    started = []
    for number, requests in enumerate(clients):
        place = ours.scratch / f"curl-{number}"
        place.write_text("\nnext\n".join("\n".join(lines) for lines in requests))
        started.append(subprocess.Popen(["curl", "-sS", "-K", str(place)], stdout=subprocess.PIPE, text=True))
    for process, requests in zip(started, clients, strict=True):
        said, _ = process.communicate()
        statuses = said.split()
        assert len(statuses) == len(requests), said[:2000]
        assert set(statuses) <= {"200", "202"}, said[:2000]


def _head(ours: Ours) -> list[str]:
    """What every request has; a token is good for a round."""
    with _client(ours) as api:
        token = api.login(*ours.login())["access_token"]
    return [
        f'header = "Authorization: Bearer {token}"',
        'header = "Expect:"',
        'output = "/dev/null"',
        'write-out = "%{http_code}\\n"',
    ]


def _known_upload(ours: Ours) -> str:
    """One that was put."""
    with _client(ours) as api:
        api.login(*ours.login())
        return str(api.uploads(limit="1")["uploads"][0]["uploadId"])


def _client(ours: Ours) -> contextlib.closing[Api]:
    return contextlib.closing(Api(Place(_url(ours).removesuffix("/api/external"))))


def _url(ours: Ours) -> str:
    facts = json.loads((ours.service.folder / "state" / "run" / "service.json").read_text())
    return f"{facts['http_url']}/api/external"
