"""kill -9 of the real service at every label of the push chain, and at random times, with a real server.

Two services run at a time. ``PIPE_DOSE=5 pytest tests/crash/test_push_kills.py`` kills at the second passing too, with
one and with two remotes, and makes 10 random kills instead of 2.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from conch_pipe.crashpoints import PUSH_LABELS
from tests.crash.conftest import two_at_a_time
from tests.crash.deliveries import ENVIRONMENTS, SIZES, Deliveries, prepare
from tests.crash.installation import DOSE, WAIT_S, Installation, wait_for
from tests.live import pushing
from tests.live.push_servers import WatchedServer

# The first test waits for its installation too.
pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

LARGE = 8_000_000  # a main file whose half can be told from its end
RECORDED = {"R8", "T1", "T2", "T3"}  # the attempt was settled before
# Some of the attempt is done, nothing of it is recorded; or it is.
REPLACED = ("R5", "R6", "R7", "R8") if DOSE > 1 else ("R6", "R8")
FAILED = ("R7", "R8")
MANUAL = ("R1", "R6", "R7", "R8") if DOSE > 1 else ("R7",)


def killed_at(label: str, number: int, environment: str, deliveries: Deliveries) -> None:
    """A recording is handed over, the service is killed on the way, and started again."""
    installation, peer = deliveries.installation, deliveries.peer
    recording = f"{label}-{number}-{environment}"
    handed = deliveries.hand_over(recording, environment, LARGE if label == "R4" else SIZES["main"])
    gate = peer.stop_at(handed.names["main"], LARGE * 3 // 4) if label == "R4" else None

    installation.launch(f"{label}:{number}").dies()

    deliveries.none_deleted_early()
    sent = {remote: deliveries.sent(recording, remote) for remote in ENVIRONMENTS[environment]}
    if gate is not None:
        parts = [len(deliveries.there(recording, remote).get("main", b"")) for remote in sent]
        assert LARGE // 2 <= max(parts) < LARGE
        gate.unlink()
    elif label >= "R5":
        assert any(deliveries.there(recording, remote).get("main") == handed.content["main"] for remote in sent)
    installation.launch().listening()
    wait_for(lambda: len(pushing.pushes(installation, recording)) == len(sent), "the record")
    installation.idle()
    deliveries.audit()
    if label in RECORDED and (label != "R8" or len(sent) == 1):
        assert {remote: deliveries.sent(recording, remote) for remote in sent} == sent == dict.fromkeys(sent, 1)
    installation.stop()


def replaced_at(label: str, _number: int, environment: str, deliveries: Deliveries) -> None:
    """Between the kill and the start other bytes come into the place of the files: the remote keeps the first."""
    installation = deliveries.installation
    recording = f"{label}-replaced"
    handed = deliveries.hand_over(recording, environment)
    installation.launch(f"{label}:1").dies()
    first = deliveries.there(recording, "near")
    assert first["main"] == handed.content["main"]
    for path in handed.files.values():
        path.write_bytes(os.urandom(path.stat().st_size))
    others = {path: path.read_bytes() for path in handed.files.values()}

    installation.launch().listening()

    if label in RECORDED:
        installation.idle()
        deliveries.audit(recording)
        assert first == handed.content
    else:
        wait_for(lambda: pushing.attempts(installation, recording), "an attempt in the log")
        assert pushing.attempts(installation, recording) == {"near": [(1, "FILE_MISSING", "changed")]}
        assert pushing.pushes(installation, recording) == {"near": {"state": "WAITING", "attempts": 1}}
    assert deliveries.there(recording, "near") == first
    assert deliveries.sent(recording, "near") == 1
    assert {path: path.read_bytes() for path in others} == others
    installation.stop()


def failed_at(label: str, _number: int, environment: str, deliveries: Deliveries) -> None:
    """An attempt in vain is counted once, whether it was recorded before the kill or is made again after it."""
    installation, peer = deliveries.installation, deliveries.peer
    recording, folder = f"{label}-failed", f"{label}-later"
    installation.command("remote", "edit", "near", "--folder", folder)
    handed = deliveries.hand_over(recording, environment)
    installation.launch(f"{label}:1").dies()

    installation.launch().listening()

    failed = {"near": [(1, "INCORRECT_SFTP_FOLDER", "missing")]}
    wait_for(lambda: pushing.attempts(installation, recording) == failed, "one attempt in the log")
    (peer.files / folder).mkdir()
    installation.command("recording", "retry", recording)
    wait_for(lambda: pushing.state(installation, recording, "near") == "DELIVERED", "the delivery")
    installation.idle()
    assert pushing.attempts(installation, recording) == {"near": [*failed["near"], (0, "OK", "")]}
    assert pushing.pushes(installation, recording)["near"]["attempts"] == 1
    there = {role: (peer.files / folder / name).read_bytes() for role, name in handed.names.items()}
    assert there == handed.content
    installation.stop()


def manual_at(label: str, _number: int, environment: str, deliveries: Deliveries) -> None:
    """An attempt that an operator asked for is made again too, and is none of the 13."""
    installation = deliveries.installation
    recording = f"{label}-manual"
    installation.command("remote", "disable", "near", "--yes")
    handed = deliveries.hand_over(recording, environment)
    installation.launch().listening()
    failed = {"near": [(1, "UPLOAD_FAILED", "disabled")]}
    wait_for(lambda: pushing.attempts(installation, recording) == failed, "an attempt without a connection")
    installation.stop()
    installation.command("remote", "enable", "near", "--yes")
    installation.launch(f"{label}:1").dies()

    installation.launch().listening()

    wait_for(lambda: pushing.state(installation, recording, "near") == "DELIVERED", "the delivery")
    installation.idle()
    assert pushing.attempts(installation, recording) == {"near": [*failed["near"], (0, "OK", "")]}
    assert pushing.pushes(installation, recording)["near"]["attempts"] == 1
    assert deliveries.there(recording, "near") == handed.content
    installation.stop()


def stopped_at(_label: str, _number: int, environment: str, deliveries: Deliveries) -> None:
    """SIGTERM in the middle of a file: the service ends, and the same attempt is made at the next start."""
    installation, peer = deliveries.installation, deliveries.peer
    handed = deliveries.hand_over("stopped", environment)
    gate = peer.stop_at(handed.names["main"], 0)
    installation.launch().listening()
    for remote in ENVIRONMENTS[environment]:
        wait_for(lambda remote=remote: deliveries.sent("stopped", remote), f"the file on its way to {remote}")
    installation.stop()
    assert pushing.attempts(installation, "stopped") == {}
    gate.unlink()

    installation.launch().listening()

    installation.idle()
    deliveries.audit()
    installation.stop()


def environment_of(label: str) -> str:
    """Two pushes of one recording, unless what is told after the kill is about one."""
    return "one" if label == "R8" else "both"


SCENARIOS = {
    **{f"{label}:1": (killed_at, label, 1, environment_of(label)) for label in PUSH_LABELS},
    **{f"{label} replaced": (replaced_at, label, 1, "one") for label in REPLACED},
    **{f"{label} failed": (failed_at, label, 1, "one") for label in FAILED},
    **{f"{label} manual": (manual_at, label, 1, "one") for label in MANUAL},
    "stopped": (stopped_at, "", 0, "both"),
}
if DOSE > 1:
    SCENARIOS |= {f"{label}:1 one": (killed_at, label, 1, "one") for label in PUSH_LABELS if label != "R8"}
    SCENARIOS |= {f"{label}:2": (killed_at, label, 2, "both") for label in PUSH_LABELS if label.startswith("R")}


@pytest.fixture(scope="module")
def peer(tmp_path_factory) -> Iterator[WatchedServer]:
    """One server for all."""
    server = WatchedServer(tmp_path_factory.mktemp("peer"))
    with server:
        yield server


@pytest.fixture(scope="module")
def prepared(template, peer, tmp_path_factory) -> Installation:
    """With remotes and environments; to be copied."""
    made = Installation(tmp_path_factory.mktemp("prepared"), template, pushing.ALLOWED)
    prepare(made, peer)
    return made


@pytest.fixture(scope="module")
def outcomes(request, prepared, peer, tmp_path_factory) -> Iterator[dict[str, Future[None]]]:
    """All collected scenarios; the tests below only wait for them."""

    def run(name: str) -> None:
        scenario, *arguments = SCENARIOS[name]
        folder = tmp_path_factory.mktemp(name.replace(":", "-").replace(" ", "-"))
        installation = Installation(folder, prepared, pushing.ALLOWED)
        try:
            scenario(*arguments, Deliveries(installation, peer))
        finally:
            installation.kill()

    yield from two_at_a_time(request, "killing", run)


@pytest.mark.parametrize("killing", SCENARIOS)
def test_a_kill_loses_no_attempt_counts_none_twice_and_forgets_no_success(killing, outcomes):
    """A label that is never passed fails: nothing killed it."""
    outcomes[killing].result()


@pytest.mark.timeout(180 + 60 * DOSE)
def test_kills_at_random_times_while_recordings_come_and_go(prepared, peer, tmp_path):
    """In the end each is delivered as it was handed over, with one attempt in its log for each remote."""
    seed = 20_261_121
    chance = random.Random(seed)
    installation = Installation(tmp_path / "service", prepared, pushing.ALLOWED)
    deliveries = Deliveries(installation, peer)
    began = time.monotonic()
    try:
        for round_ in range(2 * DOSE):
            installation.launch()
            names = [f"load-{round_}-{number}" for number in range(6)]
            gate = peer.stop_at(f"{names[0]}.mp4", 0)  # one is under way, whatever the moment
            for recording in names:
                deliveries.hand_over(recording, chance.choice(list(ENVIRONMENTS)))
            wait_for(lambda names=names: deliveries.sent(names[0], "near"), "a file on its way")
            time.sleep(chance.uniform(0, 1.0))  # the fault itself: any moment will do
            installation.kill()
            gate.unlink()
            deliveries.none_deleted_early()
        installation.launch().listening()
        wait_for(lambda: installation.ask("SELECT count(*) FROM recordings") == [(len(deliveries.handed),)], "records")
        installation.idle(WAIT_S + time.monotonic() - began)  # what is late begins within as long as it is late
        deliveries.audit()
        installation.stop()
    finally:
        installation.kill()
    again = sum(deliveries.sent(recording, "near") > 1 for recording in deliveries.handed)
    assert again >= 2 * DOSE
    print(f"seed {seed}: {len(deliveries.handed)} recordings, {again} main files sent more than once to one remote")
