"""From a stored upload to rows or a reason, over the runner and everything else in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import maybeDeferred

from conch_pipe.errors import Code, Mistakes, PipeError, WorkerDied
from conch_pipe.events import Events
from conch_pipe.model import Problem, State
from conch_pipe.processing import ingest
from conch_pipe.processing.runner import Runner
from tests.processing.fakes import (
    Book,
    FolderObjects,
    MemoryCatalog,
    MemoryWarehouse,
    MemoryWorkers,
    clock_at_start,
    upload_of,
)

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
BUSY = PipeError(Code.BUSY, "the analytics database is in use elsewhere")
DIED = WorkerDied("killed by SIGKILL")
BROKEN = PipeError(Code.FAILED, "internal error", "traceback")


def check(arguments: dict) -> dict:
    """A small ``check_file``: each line is a row, one that says "bad" is a problem."""
    lines = Path(arguments["path"]).read_text().splitlines()
    bad = [number for number, line in enumerate(lines, 1) if line == "bad"]
    if lines[:1] == ["no header"]:
        raise PipeError(Code.BAD_FILE, "the header has no column id")
    lenient = arguments["schema_text"] == "lenient"
    good = [line for line in lines if line != "bad"]
    Path(arguments["parquet"]).write_text("\n".join(good))
    return {
        "rows": len(good),
        "rejected": len(bad) if lenient else 0,
        "accepted": lenient or not bad,
        "problems": [
            {"reason": "not a number", "line": number, "row": number, "column": "id", "value": "bad"} for number in bad
        ][:100],
        "problem_count": len(bad),
    }


class Bench:
    """Everything an upload meets after its door."""

    def __init__(self, folder: Path) -> None:
        self.clock = clock_at_start()
        self.catalog = MemoryCatalog(self.clock)
        self.raw = folder / "raw"
        self.raw.mkdir(parents=True)
        self.work = folder / "work"
        self.objects = FolderObjects(self.raw)
        self.warehouse = MemoryWarehouse()
        self.workers = MemoryWorkers(check)
        self.book = Book(shifts="strict", tips="lenient")
        self.heard = []
        self.chain = ingest.stages(
            self.objects,
            self.warehouse,
            self.workers,
            self.catalog,
            self.book,
            self.work,
            Events((self.heard.append,)),
            self.clock,
            {"rows": 5_000_000},
            in_thread=maybeDeferred,
        )
        self.runner = Runner(self.catalog, {"ingest": self.chain}, self.clock, capacity=3)

    def put(self, text: str, **fields):
        upload = upload_of(self.clock, **fields)
        (self.raw / upload.object_key).write_text(text)
        self.catalog.add(upload=upload)
        return upload.id

    def put_small(self, text: str):
        upload = upload_of(self.clock)
        self.catalog.add(upload=upload)
        self.catalog.contents[upload.id] = text.encode()
        return upload.id

    def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)

    def run(self, seconds: int = 0) -> None:
        self.runner.startService()
        self.advance(seconds)
        stopped = self.runner.stopService()
        assert stopped.called

    def told(self, name: str) -> list[dict]:
        """The fields of events, but for what took how long."""
        found = [dict(event.fields) for event in self.heard if event.kind.name == name]
        return [{key: value for key, value in one.items() if key != "timings"} for one in found]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_good_file_becomes_rows_and_a_completed_upload(bench):
    upload_id = bench.put("1\n2\n3\n")

    bench.run()

    upload = bench.catalog.uploads[upload_id]
    assert (upload.state, upload.rows, upload.rejected, upload.problem) == (State.COMPLETED, 3, 0, None)
    assert set(upload.seconds) == {"wait", "check", "load", "total"}
    assert bench.told("upload.completed") == [{"upload_id": str(upload_id), "rows": 3, "rejected": 0, "seconds": 0.0}]
    assert list(bench.work.iterdir()) == []


def test_a_small_file_gets_its_raw_copy_before_it_is_checked_and_then_its_bytes_may_go(bench):
    upload_id = bench.put_small("1\n2\n")

    bench.run()

    upload = bench.catalog.uploads[upload_id]
    assert (upload.state, upload.rows) == (State.COMPLETED, 2)
    assert (bench.raw / upload.object_key).read_text() == "1\n2\n"
    assert bench.catalog.contents == {}


def test_a_small_file_waits_while_its_raw_copy_cannot_be_made(bench):
    """However often: no attempt of its own is used up, its bytes stay, and it is told once."""
    upload_id = bench.put_small("1\n2\n")
    bench.objects.trouble = [PipeError(Code.FAILED, "the file cannot be stored", "EIO")] * 7

    bench.run(600)

    assert bench.objects.trouble == []
    assert (bench.catalog.uploads[upload_id].state, bench.catalog.contents) == (State.COMPLETED, {})
    assert [told["reason"] for told in bench.told("upload.delayed")] == ["the raw copy cannot be made"]


@pytest.mark.parametrize("when", ["before its raw copy", "after its raw copy"])
def test_the_bytes_of_a_small_file_that_is_given_up_are_kept_for_the_retry(bench, when):
    upload_id = bench.put_small("1\n2\n")
    if when == "before its raw copy":
        bench.book.texts.clear()
    else:
        bench.workers.trouble = [DIED] * 3

    bench.run(600)

    assert bench.catalog.uploads[upload_id].state is State.FAILED
    assert bench.catalog.contents == {upload_id: b"1\n2\n"}


def test_a_file_with_a_bad_row_fails_with_its_place_and_loads_nothing(bench):
    upload_id = bench.put("1\nbad\n3\nbad\n")

    bench.run()

    upload = bench.catalog.uploads[upload_id]
    assert (upload.state, upload.rows) == (State.FAILED, 0)
    assert (upload.problem, upload.problem_count) == ("line 2, column id: not a number", 2)
    assert bench.catalog.problems[upload_id][0] == Problem("not a number", 2, 2, "id", "bad")
    assert bench.warehouse.ledger == {}
    assert bench.told("upload.failed") == [{"upload_id": str(upload_id), "problem": "line 2, column id: not a number"}]


def test_a_schema_that_rejects_rows_loads_the_others(bench):
    upload_id = bench.put("1\nbad\n3\n", schema="tips")

    bench.run()

    upload = bench.catalog.uploads[upload_id]
    assert (upload.state, upload.rows, upload.rejected) == (State.COMPLETED, 2, 1)
    assert upload.problem == "line 2, column id: not a number"


def test_what_the_check_refuses_is_told_in_its_words(bench):
    upload_id = bench.put("no header\n")

    bench.run()

    assert bench.catalog.uploads[upload_id].problem == "the header has no column id"
    assert bench.catalog.ended == {1: "done"}


def test_a_missing_raw_copy_is_an_alarm_and_not_a_loop(bench):
    upload_id = bench.put("1\n")
    (bench.raw / str(upload_id)).unlink()

    bench.run(60)

    assert bench.catalog.uploads[upload_id].state is State.FAILED
    assert bench.catalog.uploads[upload_id].problem == "our copy of the file is damaged or gone: send it again"
    assert bench.told("object.damaged") == [{"upload_id": str(upload_id)}]


def test_a_raw_copy_whose_bytes_have_changed_is_an_alarm_too(bench):
    upload_id = bench.put("1\n")
    bench.workers.trouble = [PipeError(Code.CONFLICT, "stored copy damaged", "sha256 …")]

    bench.run(60)

    assert bench.catalog.uploads[upload_id].state is State.FAILED
    assert bench.warehouse.ledger == {}
    assert bench.told("object.damaged") == [{"upload_id": str(upload_id)}]


def test_a_reason_of_several_lines_becomes_one(bench):
    upload_id = bench.put("1\n")
    bench.workers.trouble = [Mistakes("schema shifts", ["no table", "no columns"])]

    bench.run()

    assert bench.catalog.uploads[upload_id].problem == "schema shifts: 2 mistakes - no table - no columns"


def test_a_schema_that_is_gone_is_named(bench):
    upload_id = bench.put("1\n")
    bench.book.texts.clear()

    bench.run()

    assert bench.catalog.uploads[upload_id].problem == "the schema shifts does not exist any more"


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
def test_an_upload_that_has_ended_is_not_touched_again(bench, state):
    """Settled by a process that died before it could tell."""
    upload_id = bench.put("1\n", state=state)
    before = bench.catalog.uploads[upload_id]

    bench.run()

    assert bench.catalog.uploads[upload_id] == before
    assert (bench.workers.calls, bench.catalog.ended) == (0, {1: "done"})
    assert bench.heard == []


def test_a_load_whose_answer_was_lost_is_not_done_twice(bench):
    upload_id = bench.put("1\n2\n")
    bench.warehouse.trouble, bench.warehouse.after = [PipeError(Code.UNKNOWN_OUTCOME, "lost")], True

    bench.run(5)

    assert bench.catalog.uploads[upload_id].rows == 2
    assert bench.warehouse.commits == 1


LOST = PipeError(Code.UNKNOWN_OUTCOME, "lost")


@pytest.mark.parametrize("later", [[DIED] * 4, [BROKEN] * 9, [PipeError(Code.BAD_FILE, "too many rows")]])
def test_an_upload_whose_rows_are_loaded_does_not_fail_for_what_happens_later(bench, later):
    """The load commits, its answer is lost, and no later attempt gets as far as the ledger."""
    upload_id = bench.put("1\n2\n")
    bench.warehouse.trouble, bench.warehouse.after = [LOST], True
    bench.runner.startService()
    bench.workers.trouble = later

    bench.advance(600)

    upload = bench.catalog.uploads[upload_id]
    assert (upload.state, upload.rows, upload.problem) == (State.COMPLETED, 2, None)
    assert bench.catalog.ended == {1: "done"}
    assert [told["rows"] for told in bench.told("upload.completed")] == [2]
    assert bench.told("upload.failed") == []
    bench.runner.stopService()


def test_rows_that_are_loaded_are_not_denied_because_the_schema_has_changed(bench):
    upload_id = bench.put("1\nbad\n", schema="tips")
    bench.warehouse.trouble, bench.warehouse.after = [LOST], True
    bench.runner.startService()
    bench.book.texts["tips"] = "strict"

    bench.advance(10)

    assert (bench.catalog.uploads[upload_id].state, bench.catalog.uploads[upload_id].rows) == (State.COMPLETED, 1)
    bench.runner.stopService()


def test_an_upload_is_not_given_up_while_the_warehouse_does_not_say_whether_it_is_loaded(bench):
    upload_id = bench.put("1\n2\n")
    bench.warehouse.trouble, bench.warehouse.after = [LOST], True
    bench.warehouse.silent = [BUSY, DIED]
    bench.runner.startService()
    bench.workers.trouble = [DIED] * 100
    bench.advance(200)
    assert bench.catalog.uploads[upload_id].state is State.PENDING

    bench.advance(200)

    assert (bench.catalog.uploads[upload_id].state, bench.catalog.uploads[upload_id].rows) == (State.COMPLETED, 2)
    bench.runner.stopService()


def test_uploads_wait_while_the_warehouse_is_in_use_elsewhere_and_are_not_checked_over_and_over(bench):
    ids = [bench.put("1\n") for _ in range(20)]
    bench.warehouse.trouble = [BUSY] * 1000
    bench.runner.startService()
    bench.advance(120)
    checked = bench.workers.calls
    assert {bench.catalog.uploads[upload_id].state for upload_id in ids} == {State.PENDING}

    bench.warehouse.trouble = []
    bench.advance(60)

    assert {bench.catalog.uploads[upload_id].state for upload_id in ids} == {State.COMPLETED}
    assert checked <= 120 / ingest.SHUT_S * bench.runner.capacity
    assert len(bench.told("warehouse.busy")) == 1
    assert {job.failures for job in bench.catalog.jobs.values()} == {0}
    bench.runner.stopService()


def test_a_poisonous_file_hurts_only_its_own_upload(bench):
    """I24: its worker dies each time; the others go through."""
    poison = bench.put("poison")
    others = [bench.put("1\n") for _ in range(10)]

    def hostile(arguments):
        if Path(arguments["path"]).read_text() == "poison":
            raise WorkerDied("killed by SIGSEGV")
        return check(arguments)

    bench.workers.function = hostile
    bench.workers.call = lambda name, arguments, wall_s: maybeDeferred(hostile, arguments)

    bench.run(30)

    assert {bench.catalog.uploads[upload_id].state for upload_id in others} == {State.COMPLETED}
    assert bench.catalog.uploads[poison].state is State.FAILED
    assert "its worker died 3 times" in bench.catalog.uploads[poison].problem
    assert list(bench.work.iterdir()) == []


def test_a_cancelled_attempt_leaves_no_work_file(bench):
    bench.workers.hold = True
    upload_id = bench.put("1\n")
    bench.runner.startService()
    assert len(list(bench.work.iterdir())) == 1

    stopped = bench.runner.stopService()
    bench.advance(30)

    assert stopped.called
    assert list(bench.work.iterdir()) == []
    assert bench.catalog.uploads[upload_id].state is State.PENDING


def test_two_attempts_at_one_upload_do_not_share_work_files(bench):
    bench.workers.hold = True
    bench.put("1\n")
    bench.runner.startService()
    bench.catalog.leases[1] = bench.catalog.jobs[1].due_at

    bench.advance(1)

    parquets = {arguments["parquet"] for arguments, _ in bench.workers.held}
    assert len(parquets) == 2
    bench.runner.stopService()
    bench.advance(31)


TROUBLE = st.lists(st.sampled_from([BUSY, DIED, BROKEN, None]), max_size=6)


@settings(max_examples=60 * DOSE, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worker=TROUBLE, loads=TROUBLE, after=st.booleans(), count=st.integers(1, 4))
def test_rows_are_there_exactly_once_or_not_at_all(tmp_path_factory, worker, loads, after, count):
    """I4, I6, I7: whatever dies on the way, every upload ends, and COMPLETED means its rows are there, once."""
    bench = Bench(tmp_path_factory.mktemp("ingest"))
    ids = [bench.put("1\n2\n") for _ in range(count)]
    bench.workers.trouble = [error for error in worker if error]
    bench.warehouse.trouble, bench.warehouse.after = [error for error in loads if error], after

    bench.run(600)

    ended = {upload_id: bench.catalog.uploads[upload_id] for upload_id in ids}
    assert {upload.state for upload in ended.values()} <= {State.COMPLETED, State.FAILED}
    for upload_id, upload in ended.items():
        if upload.state is State.COMPLETED:
            assert bench.warehouse.ledger[upload_id] == upload.rows == 2
        else:
            assert upload_id not in bench.warehouse.ledger
    assert bench.warehouse.commits == len(bench.warehouse.ledger)
    assert len(bench.told("upload.completed")) + len(bench.told("upload.failed")) == count
    assert list(bench.work.iterdir()) == []
