"""One DuckDB file: loaded once whatever dies, and shared politely with analysts."""

from __future__ import annotations

import importlib
import json
import os
import stat
import subprocess
import sys

import duckdb
import pytest
from twisted.internet.defer import CancelledError, Deferred, execute
from twisted.internet.task import Clock
from zope.interface import implementer

from conch_pipe.errors import Code, PipeError, WorkerDied
from conch_pipe.interfaces import IWorkers
from conch_pipe.warehouse import duckdb_loader
from conch_pipe.warehouse.duckdb_file import DuckDBWarehouse
from conch_pipe.warehouse.duckdb_loader import load_many
from conch_pipe.warehouse.reading import query
from tests.clocks import PromptClock
from tests.contracts.objects import result
from tests.contracts.warehouse import ROWS, SCHEMA, WarehouseContract, an_upload

LOAD = """
import json, sys
from conch_pipe.warehouse.duckdb_loader import load_many
print(json.dumps(load_many(json.loads(sys.argv[1]))))
"""
HOLD = """
import duckdb, sys
held = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "ro")
print("held", flush=True)
sys.stdin.read()
"""


@implementer(IWorkers)
class Inline:
    """Runs the function here, with arguments and answer as JSON, as the pipe to a worker would."""

    def call(self, function, arguments, *, wall_s):
        self.arguments = json.loads(json.dumps(arguments))
        module, name = function.split(":")
        return execute(lambda: json.loads(json.dumps(getattr(importlib.import_module(module), name)(self.arguments))))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def workers():
    return Inline()


@pytest.fixture
def warehouse(path, workers):
    clock = PromptClock()
    clock.advance(1_800_000_000)
    return DuckDBWarehouse(workers, path, clock, busy_s=0.1)


@pytest.fixture
def ask(path):
    return lambda sql: query(path, sql)[1]


@pytest.fixture
def rows(tmp_path):
    """Three good rows."""
    made = tmp_path / "three.parquet"
    duckdb.connect().execute(f"SET TimeZone = 'UTC'; COPY ({ROWS.format(3)}) TO '{made}' (FORMAT parquet)")
    return made


@pytest.fixture
def held(path):
    """Another process has the file open until the test ends."""
    processes = []

    def hold(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield hold
    for process in processes:
        process.communicate()


class TestDuckDB(WarehouseContract):
    @pytest.fixture
    def warehouse(self, warehouse):
        return warehouse

    @pytest.fixture
    def ask(self, ask):
        return ask


@pytest.mark.crash
@pytest.mark.parametrize(("label", "there"), [("P5", 0), ("P6", 0), ("P7", 0), ("P8", 3)])
def test_a_kill_in_a_load_leaves_all_or_nothing_and_a_repeat_loads_once(warehouse, workers, ask, rows, label, there):
    """A transaction that COMMIT ended survives kill -9 without the file having been closed."""
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    (last,) = workers.arguments["loads"]
    arguments = workers.arguments | {"loads": [last, last | {"upload_id": str(an_upload(2).id)}]}

    killed = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(arguments)], env=os.environ | {"PIPE_CRASH": label}, capture_output=True
    )

    second = f"FROM shifts WHERE _upload_id = '{an_upload(2).id}'"
    assert (killed.returncode, killed.stdout) == (-9, b"")
    assert ask(f"SELECT count(*) {second}") == [(there,)]
    assert result(warehouse.load(SCHEMA, an_upload(2), rows)) == 3
    assert ask(f"SELECT count(*), count(DISTINCT _row) {second}") == [(3, 3)]
    assert ask("SELECT count(*) FROM _uploads") == [(2,)]


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_a_file_held_by_another_process_is_busy_and_then_free(warehouse, rows, held, mode):
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    analyst = held(mode)

    with pytest.raises(PipeError) as caught:
        result(warehouse.load(SCHEMA, an_upload(2), rows))
    analyst.communicate()

    assert (caught.value.code, caught.value.message) == (Code.BUSY, "the analytics database is in use elsewhere")
    assert result(warehouse.load(SCHEMA, an_upload(2), rows)) == 3


def test_the_file_is_free_between_loads_and_readable_for_the_group(warehouse, path, rows, monkeypatch):
    umask = os.umask(0o077)
    try:
        result(warehouse.load(SCHEMA, an_upload(), rows))
    finally:
        os.umask(umask)

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in path.parent.iterdir() if one.suffix != ".parquet"] == [path.name], "no WAL is left"
    duckdb.connect(path).close()


@implementer(IWorkers)
class Held:
    """Calls that end as a test says: each is the uploads' numbers and the Deferred of the answer."""

    def __init__(self):
        self.calls = []

    def call(self, function, arguments, *, wall_s):
        ended = Deferred(lambda _: None)
        self.calls.append(([int(one["upload_id"][-1], 16) for one in arguments["loads"]], ended))
        return ended

    @property
    def numbers(self):
        return [numbers for numbers, _ in self.calls]

    def answer(self, *results):
        self.calls[-1][1].callback({"results": [{"rows": rows} for rows in results]})

    def fail(self, error):
        self.calls[-1][1].errback(error)


@pytest.fixture
def slow():
    return Held()


@pytest.fixture
def load(slow, path, rows):
    """Start to load uploads by number."""
    warehouse = DuckDBWarehouse(slow, path, PromptClock())
    return lambda *numbers: [warehouse.load(SCHEMA, an_upload(number), rows) for number in numbers]


def test_loads_that_wait_go_together(load, slow):
    """A second worker would find the file locked by the first."""
    first, *others = load(1, 2, 3)
    assert slow.numbers == [[1]]

    slow.answer(3)
    assert slow.numbers == [[1], [2, 3]]
    slow.answer(4, 5)

    assert [result(one) for one in (first, *others)] == [3, 4, 5]


def test_loads_of_one_turn_go_together(slow, path, rows):
    """A worker's answer may be of thirty files, whose rows are to be loaded then."""
    clock = Clock()
    warehouse = DuckDBWarehouse(slow, path, clock)
    for number in (1, 2, 3):
        warehouse.load(SCHEMA, an_upload(number), rows)

    clock.advance(0)

    assert slow.numbers == [[1, 2, 3]]


def test_what_a_call_had_no_time_for_goes_first_in_the_next(load, slow):
    _, *others = load(1, 2, 3, 4)
    slow.answer(3)
    others += load(5)

    slow.answer(1)

    assert slow.numbers == [[1], [2, 3, 4], [3, 4, 5]]
    slow.answer(2, 3, 4)
    assert [result(one) for one in others] == [1, 2, 3, 4]


@pytest.mark.parametrize("error", [WorkerDied("killed"), PipeError(Code.FAILED, "internal error")])
def test_a_death_is_counted_against_the_guilty_one_only(load, slow, error):
    _, *others = load(1, 2, 3, 4)
    slow.answer(3)

    slow.fail(error)
    slow.answer(2)
    slow.fail(error)
    slow.answer(4)

    assert slow.numbers == [[1], [2, 3, 4], [2], [3], [4]]
    assert (result(others[0]), result(others[2])) == (2, 4)
    with pytest.raises(type(error)):
        result(others[1])


def test_an_upload_whose_worker_died_is_never_loaded_with_others(load, slow):
    (first,) = load(1)
    slow.fail(WorkerDied("killed"))
    with pytest.raises(WorkerDied):
        result(first)

    load(2, 3, 1, 4, 5)
    for answer in ([2], [3], [1], [4, 5]):
        slow.answer(*answer)

    assert slow.numbers[1:] == [[2], [3], [1], [4, 5]]


def test_a_file_in_use_elsewhere_is_said_to_all_at_once(load, slow):
    """Each by itself would wait for the analyst once more."""
    _, *others = load(1, 2, 3)
    slow.answer(3)

    slow.fail(PipeError(Code.BUSY, "in use"))

    assert len(slow.calls) == 2
    for other in others:
        with pytest.raises(PipeError):
            result(other)


def test_a_call_is_cancelled_when_nobody_waits_for_it_any_more(load, slow):
    _, second, third, fourth, fifth = load(1, 2, 3, 4, 5)
    fifth.cancel()
    slow.answer(3)

    second.cancel()
    third.cancel()
    assert not slow.calls[-1][1].called
    fourth.cancel()

    assert slow.numbers == [[1], [2, 3, 4]]
    assert slow.calls[-1][1].called
    for one in (second, third, fourth, fifth):
        with pytest.raises(CancelledError):
            result(one)


def test_a_load_that_fails_harms_neither_those_before_it_nor_those_after(workers, warehouse, path, ask, rows, tmp_path):
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1")
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    (one,) = workers.arguments["loads"]
    loads = [one | {"upload_id": str(an_upload(number).id)} for number in (1, 2, 3, 4)]
    loads[2]["parquet"] = str(damaged)

    told = load_many(workers.arguments | {"loads": loads})["results"]
    rest = load_many(workers.arguments | {"loads": loads[3:]})["results"]

    assert [entry.get("rows") for entry in told] == [3, 3, None]
    assert told[2]["error"]["code"] == Code.FAILED.value
    assert rest == [{"rows": 3}]
    assert ask("SELECT count(*), count(DISTINCT _upload_id) FROM shifts") == [(9, 3)]


def test_small_loads_that_wait_are_one_transaction(workers, warehouse, ask, rows, tmp_path, monkeypatch):
    """Of those in the ledger nothing is loaded again, and rows of a Parquet that several share are inserted at once."""
    shared = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    both = " UNION ALL ".join(f"SELECT '{name}' AS _file, * FROM ({ROWS.format(2)})" for name in shared)
    duckdb.connect().execute(f"SET TimeZone = 'UTC'; COPY ({both}) TO '{shared[0]}' (FORMAT parquet)")
    shared[1].hardlink_to(shared[0])
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    (one,) = workers.arguments["loads"]
    places = [rows, rows, shared[0], rows, shared[1]]
    loads = [one | {"upload_id": str(an_upload(n).id), "parquet": str(at)} for n, at in enumerate(places, 1)]
    committed = []
    monkeypatch.setattr(duckdb_loader, "crashpoint", committed.append)

    told = load_many(workers.arguments | {"loads": loads})["results"]
    again = load_many(workers.arguments | {"loads": loads})["results"]

    assert told == again == [{"rows": 3}, {"rows": 3}, {"rows": 2}, {"rows": 3}, {"rows": 2}]
    assert committed == ["P5", "P6", "P7", "P8", "P5"]
    assert ask("SELECT count(*) FROM shifts GROUP BY _upload_id ORDER BY _upload_id") == [(3,), (3,), (2,), (3,), (2,)]
    assert ask("SELECT rows FROM _uploads ORDER BY upload_id") == [(3,), (3,), (2,), (3,), (2,)]


def test_of_a_commit_that_failed_nothing_is_said_of_any(workers, warehouse, ask, rows, monkeypatch):
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    (one,) = workers.arguments["loads"]
    loads = [one | {"upload_id": str(an_upload(number).id)} for number in (2, 3)]

    class Failing:
        def __init__(self, connection):
            self.connection = connection

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def commit(self):
            self.connection.rollback()
            raise duckdb.IOException("I/O error")

    monkeypatch.setattr(duckdb_loader, "_start", lambda arguments: Failing(duckdb.connect()))
    monkeypatch.setattr(duckdb_loader, "_kept", [])
    with pytest.raises(PipeError) as caught:
        load_many(workers.arguments | {"loads": loads})

    assert caught.value.code is Code.UNKNOWN_OUTCOME
    assert ask("SELECT count(*) FROM _uploads") == [(1,)]


def test_a_call_gives_the_file_back_when_its_time_is_over(workers, warehouse, rows, monkeypatch):
    """Between transactions; large files have one each."""
    monkeypatch.setattr(duckdb_loader, "SMALL", 0)
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    (one,) = workers.arguments["loads"]
    loads = [one | {"upload_id": str(an_upload(number).id)} for number in (2, 3)]

    assert load_many(workers.arguments | {"loads": loads, "open_s": 0})["results"] == [{"rows": 3}]


def test_a_new_file_can_be_read_by_the_oldest_duckdb_we_work_with(warehouse, path, rows):
    """What 2.0 makes by itself 1.5 cannot open. A file keeps its version, whatever it is."""
    own = path.with_name("own.duckdb")
    duckdb.connect(own).close()
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    result(warehouse.load(SCHEMA, an_upload(2), rows))

    assert version_of(path) == "v1.5.0+"
    before = version_of(own)
    result(DuckDBWarehouse(Inline(), own, PromptClock()).load(SCHEMA, an_upload(1), rows))
    assert version_of(own) == before


def version_of(path):
    """The storage version, as ``v1.5.0+``."""
    with duckdb.connect(path, read_only=True) as connection:
        ((tags,),) = connection.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
    return tags["storage_version"]


def test_the_service_never_imports_duckdb():
    """Its crash would end every session."""
    program = "import sys, conch_pipe.warehouse; print('duckdb' in sys.modules)"

    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout

    assert output == b"False\n"


def test_a_damaged_parquet_file_is_refused_and_loads_nothing(warehouse, ask, rows, tmp_path):
    result(warehouse.load(SCHEMA, an_upload(1), rows))
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(rows.read_bytes()[:-20])

    with pytest.raises(PipeError) as caught:
        result(warehouse.load(SCHEMA, an_upload(2), damaged))

    assert (caught.value.code, caught.value.message) == (Code.FAILED, "the rows could not be loaded")
    assert "parquet" in caught.value.detail.lower()
    assert str(tmp_path) not in caught.value.message
    assert ask("SELECT count(*) FROM _uploads") == [(1,)]
    assert result(warehouse.load(SCHEMA, an_upload(2), rows)) == 3


def test_a_question_before_the_first_load_says_so(path):
    with pytest.raises(PipeError, match="there is no analytics database yet") as caught:
        query(path, "SELECT 1")
    assert caught.value.code is Code.NOT_FOUND
    assert not path.exists()


def test_a_question_gives_names_and_rows_up_to_its_limit(warehouse, path, rows):
    result(warehouse.load(SCHEMA, an_upload(), rows))

    assert query(path, "SELECT id, id AS id2 FROM shifts ORDER BY id", limit=2) == (["id", "id2"], [(0, 0), (1, 1)])
    assert query(path, "SELECT starts, starts AS s FROM shifts WHERE id = 9") == (["starts", "s"], [])


def test_a_question_waits_for_a_load_and_not_for_ever(warehouse, path, rows, held):
    result(warehouse.load(SCHEMA, an_upload(), rows))
    loader = held("rw")
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 5:
            loader.communicate()

    assert query(path, "SELECT count(*) FROM shifts", sleep=sleep)[1] == [(3,)]
    assert len(slept) == 5

    held("rw")
    with pytest.raises(PipeError, match="in use for 10 s") as caught:
        query(path, "SELECT 1", sleep=slept.append)
    assert caught.value.code is Code.BUSY
    assert sum(slept) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM nowhere", "SELEC 1", "DELETE FROM shifts", "CREATE TABLE x (a INTEGER)"]
)
def test_a_question_that_is_wrong_or_writes_is_refused(warehouse, path, ask, rows, sql):
    result(warehouse.load(SCHEMA, an_upload(), rows))

    with pytest.raises(PipeError) as caught:
        query(path, sql)

    assert caught.value.code is Code.INVALID
    assert ask("SELECT count(*) FROM shifts") == [(3,)]
