"""kill -9 at every label of crashpoints.py, and at random times: the invariants I1 to I4 and I27.

Two services run at a time. ``PIPE_DOSE=20 pytest tests/crash/test_kills.py`` makes 60 random kills instead of 3, and
kills at the first, second and third passing of each label.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest

from conch_pipe.crashpoints import LABELS
from conch_pipe.model import new_id
from tests.crash.conftest import two_at_a_time
from tests.crash.installation import DOSE, LOST, Installation, shifts, wait_for

pytestmark = pytest.mark.crash

RECOVERY = {"S1", "S2"}
# In a worker process: the service lives and does that file's work again.
IN_WORKERS = {"P5", "P6", "P7", "P8"}
COMMITTED = {"C6", "C7"}  # recorded, and the client does not know, or just so
# Small files have no part file: they are recorded with their bytes, and the raw copy is made by their job.
ON_DISK = {"spool.small_bytes": 0}
FILES = {f"{name}.csv": shifts(name) for name in ("one", "two", "three")}
LATER = {False: {label for label in LABELS if label.startswith("P")}}  # passed after the answer
LATER[True] = LATER[False] | {"C3", "C4"}
# Each file passes a label once. At the second passing, one file is acknowledged and one is under way.
TIMES = [
    (label, number, small)
    for small in (False, True)
    for label in LABELS
    if label not in RECOVERY and not (small and label in LATER[False])
    for number in ((1, 2, 3) if DOSE > 1 else (1,) if label in LATER[small] else (2,))
]


def killed_at(label: str, number: int, small: bool, installation: Installation) -> None:
    """Put three files, have the process killed on the way, start again, and put them again."""
    installation.launch(f"{label}:{number}").listening()

    installation.put_all(FILES)

    if label in IN_WORKERS:
        wait_for(lambda: "killed by SIGKILL" in installation.log_text(), f"the death of a worker at {label}")
        assert installation.clients.acknowledged == set(FILES)
    else:
        installation.dies()
        installation.launch().listening()
    installation.idle()
    installation.audit()
    before = {record.id for record in installation.records()}
    if label not in LATER[small]:
        *earlier, hit = list(FILES)[:number]
        # The reply may have left with the last packet before the kill, or not.
        assert installation.clients.acknowledged - ({hit} if label == "C7" else set()) == set(earlier)
        known = [*earlier, hit] if label in COMMITTED else earlier
        assert [record.name for record in installation.records()] == known

    installation.put_all(FILES)

    assert installation.clients.acknowledged == set(FILES)
    installation.idle()
    installation.audit()
    assert before <= {record.id for record in installation.records()}
    assert not (small and installation.orphans())
    installation.stop()


def killed_in_recovery(label: str, times: int, _small: bool, installation: Installation) -> None:
    """A crash leaves a part file and copies without a record; starts are killed while they tidy up, then one is not."""
    installation.launch("C4:2").listening()
    installation.put_all(FILES)
    installation.dies()
    keys = installation.objects()
    (orphan,) = [key for key in keys if keys[key].read_bytes() == FILES["two.csv"]]
    assert len(installation.parts()) == 1
    expected = {orphan.replace("/", "_")}
    for _ in range(times):  # as many as there are starts, so that each finds one
        key = f"{orphan.rpartition('/')[0]}/{new_id(datetime.now(UTC))}.csv"
        keys[orphan].with_name(key.rpartition("/")[2]).hardlink_to(keys[orphan])
        expected.add(key.replace("/", "_"))

    for _ in range(times):
        installation.launch(f"{label}:1").dies()
        assert installation.parts() == []

    installation.launch().listening()
    installation.idle()
    installation.audit()
    assert set(installation.orphans()) == expected
    assert installation.clients.acknowledged == {"one.csv"}
    installation.stop()


SCENARIOS = {
    **{f"{label}:{number}{' small' * small}": (killed_at, label, number, small) for label, number, small in TIMES},
    **{f"{label}:1": (killed_in_recovery, label, 3, False) for label in sorted(RECOVERY)},
}


@pytest.fixture(scope="module")
def outcomes(request, template, tmp_path_factory) -> Iterator[dict[str, Future[None]]]:
    """All collected scenarios, two at a time; the tests below only wait for them."""

    def run(crash: str) -> None:
        scenario, *arguments = SCENARIOS[crash]
        folder = tmp_path_factory.mktemp(crash.replace(":", "-").replace(" ", "-"))
        installation = Installation(folder, template, {} if arguments[-1] else ON_DISK)
        try:
            scenario(*arguments, installation)
        finally:
            installation.kill()

    yield from two_at_a_time(request, "crash", run)


def test_every_label_is_killed_at():
    assert {crash.partition(":")[0] for crash in SCENARIOS} == set(LABELS)


@pytest.mark.parametrize("crash", SCENARIOS)
def test_a_kill_loses_nothing_acknowledged_and_leaves_nothing_half(crash, outcomes):
    """A label that is never passed fails: nothing killed it."""
    outcomes[crash].result()


def test_what_the_dead_had_leased_is_taken_up_at_once(install):
    """Killed while an upload is PROCESSING, with a minute left of its lease."""
    installation = install(runner__lease_s=60)
    installation.launch("P2:1").listening()
    installation.put_all({"one.csv": FILES["one.csv"]})
    installation.dies()

    installation.launch().listening()

    wait_for(lambda: installation.ask("SELECT claims FROM jobs") == [(2,)], "the second claim", within_s=2)
    installation.idle(within_s=20)
    installation.audit()
    installation.stop()


@pytest.mark.timeout(120 + 30 * DOSE)
def test_kills_at_random_times_under_load(install):
    """Four sessions put file after file, some under a temporary name first; each kill comes in the middle of it."""
    seed = 20_261_121
    chance = random.Random(seed)
    installation = install()
    locked = threading.Lock()
    number = iter(range(1_000_000))

    def load() -> None:
        try:
            with installation.session() as sftp:
                while True:
                    with locked:
                        count = next(number)
                    put = installation.put_renamed if count % 3 == 0 else installation.put
                    put(sftp, f"load{count}.csv", shifts(f"load{count}", 1 + count % 5))
        except LOST:
            return

    for round_ in range(3 * DOSE):
        installation.launch().listening()
        known = len(installation.clients.acknowledged)
        sessions = [threading.Thread(target=load) for _ in range(4)]
        for session in sessions:
            session.start()
        wait_for(lambda known=known: len(installation.clients.acknowledged) > known, "a first acknowledgement")
        time.sleep(chance.uniform(0, 0.6))  # the fault itself: any moment will do
        installation.kill()
        for session in sessions:
            session.join()
        print(f"round {round_}: {len(installation.clients.acknowledged)} acknowledged")

    installation.launch().listening()
    installation.idle()
    installation.audit()
    installation.stop()
    print(
        f"seed {seed}: {len(installation.clients.tried)} puts, {len(installation.clients.acknowledged)} acknowledged, "
        f"{len(installation.records())} recorded, {len(installation.orphans())} orphans"
    )
