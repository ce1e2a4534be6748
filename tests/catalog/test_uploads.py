"""Records of uploads: accepted once, found again, moved only as they may."""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_pipe.catalog import Filter
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Job, Outcome, Problem, State, new_id, utc
from tests import catalogs
from tests.catalog.conftest import COMPLETED, Bench, Pump

DAY = 86_400


def test_an_accepted_upload_comes_back_as_it_was_with_one_job(bench):
    upload = bench.upload(banner="SSH-2.0-x", session="ab")

    recorded = bench.accept(upload)

    assert recorded == upload == bench.result(bench.uploads.get(upload.id))
    assert bench.result(bench.jobs.waiting()) == {"ingest": 1}


def test_the_bytes_of_a_small_file_are_recorded_with_it(bench):
    upload = bench.accept(content=b"id\n\0")

    assert bench.content(upload) == b"id\n\0"
    assert bench.content(bench.accept(bench.upload(name="b.csv"))) is None


def test_the_bytes_of_a_small_file_are_kept_until_its_job_says_that_they_are_stored(bench):
    """Neither a lost lease nor a failure takes them away: a retry needs them."""
    upload = bench.accept(content=b"x")
    bench.settle(bench.claim()[0], Outcome(retry_at=utc(bench.clock), reason="busy"))
    bench.settle(bench.claim()[0], Outcome(reason="given up"))
    assert (bench.state(upload), bench.content(upload)) == (State.FAILED, b"x")
    bench.result(bench.uploads.retry(upload.id))

    bench.settle(bench.claim()[0], dataclasses.replace(COMPLETED, stored=True))

    assert (bench.state(upload), bench.content(upload)) == (State.COMPLETED, None)


def test_a_stale_lease_takes_no_bytes_away(bench):
    upload = bench.accept(content=b"x")
    (old,) = bench.claim(lease_s=1)
    bench.clock.advance(2)
    bench.claim()

    assert not bench.settle(old, dataclasses.replace(COMPLETED, stored=True))

    assert bench.content(upload) == b"x"


def test_the_same_small_file_again_leaves_the_first_ones_bytes(bench):
    first = bench.accept(content=b"x")

    again = bench.accept(same_within_s=DAY, content=b"x")

    assert (again.id, bench.content(first)) == (first.id, b"x")
    assert bench.accept(first, same_within_s=DAY, content=b"x") == first


@pytest.mark.parametrize("how", ["the copy is past its time", "the record is past its time"])
def test_the_bytes_of_a_small_file_that_was_given_up_go_with_its_copy_or_its_record(bench, how):
    upload = bench.accept(content=b"x")
    bench.settle(bench.claim()[0], Outcome(reason="given up"))
    bench.clock.advance(100)

    if how == "the copy is past its time":
        bench.result(bench.uploads.copies_deleted([upload.id]))
    else:
        bench.result(bench.uploads.forget(utc(bench.clock), 10))

    assert bench.content(upload) is None


def test_the_newest_upload_is_known_by_its_time(bench):
    assert bench.result(bench.uploads.newest()) is None
    bench.accept()
    bench.clock.advance(1)

    upload = bench.accept()

    assert bench.result(bench.uploads.newest()) == upload.received_at


def test_accept_may_be_called_again_with_the_same_id(bench):
    """After an unknown outcome the caller asks again."""
    upload = bench.accept()

    again = bench.accept(upload, same_within_s=DAY)

    assert again == upload
    assert bench.result(bench.jobs.waiting()) == {"ingest": 1}


def test_the_same_id_counts_more_than_the_same_bytes(bench):
    """The first one failed, its bytes were sent again, and only then is the first asked for once more."""
    first = bench.accept()
    bench.settle(bench.claim()[0], Outcome(done=True, upload={"state": State.FAILED, "problem": "no rows"}))
    bench.clock.advance(1)
    second = bench.accept(same_within_s=DAY)

    again = bench.accept(first, same_within_s=DAY)

    assert (again.id, again.state) == (first.id, State.FAILED)
    assert bench.accept(same_within_s=DAY).id == second.id


def test_the_same_bytes_within_a_day_are_the_same_upload(bench):
    first = bench.accept()
    bench.clock.advance(DAY)

    second = bench.accept(same_within_s=DAY)

    assert second.id == first.id
    assert bench.result(bench.jobs.waiting()) == {"ingest": 1}


@pytest.mark.parametrize(
    "change", [{"client_id": "pipe_b"}, {"schema": "orgUsers"}, {"name": "b.csv"}, {"sha256": "cd" * 32}]
)
def test_another_client_path_or_content_is_another_upload(in_memory, change):
    first = in_memory.accept()

    second = in_memory.accept(in_memory.upload(**change), same_within_s=DAY)

    assert second.id != first.id


def test_the_same_bytes_after_a_day_are_another_upload(in_memory):
    first = in_memory.accept()
    in_memory.clock.advance(DAY + 1)

    assert in_memory.accept(same_within_s=DAY).id != first.id


def test_the_same_bytes_are_another_upload_when_the_rule_is_off(in_memory):
    assert in_memory.accept(same_within_s=0).id != in_memory.accept(same_within_s=0).id


def test_the_same_bytes_after_a_failure_are_tried_again(bench):
    first = bench.accept()
    bench.settle(bench.claim()[0], Outcome(done=True, upload={"state": State.FAILED, "problem": "no rows"}))

    assert bench.accept(same_within_s=DAY).id != first.id


def test_latest_finds_the_newest_of_that_name_only(bench):
    old = bench.accept()
    bench.clock.advance(10)
    new = bench.accept()
    bench.accept(bench.upload(name="b.csv"))
    since = old.received_at

    assert bench.result(bench.uploads.latest("pipe_a", "orgShifts", "a.csv", since)) == new
    assert bench.result(bench.uploads.latest("pipe_b", "orgShifts", "a.csv", since)) is None
    assert bench.result(bench.uploads.latest("pipe_a", "orgShifts", "a.csv", since + timedelta(seconds=11))) is None


def test_keys_are_those_of_every_record(in_memory):
    uploads = [in_memory.accept(), in_memory.accept()]

    assert in_memory.result(in_memory.uploads.keys()) == {upload.object_key for upload in uploads}


def test_a_filter_narrows_the_list_and_the_newest_come_first(in_memory):
    first = in_memory.accept(in_memory.upload(name="Jan_100%.csv"))
    in_memory.clock.advance(60)
    second = in_memory.accept(in_memory.upload(organisation="other", client_id="pipe_b", schema="orgUsers"))
    in_memory.settle(in_memory.claim()[0], COMPLETED)

    def found(**wanted):
        return [upload.id for upload in in_memory.result(in_memory.uploads.list(Filter(**wanted)))]

    assert found() == [second.id, first.id]
    assert found(limit=1) == [second.id]
    assert found(organisation="acme") == found(client_id="pipe_a") == found(schema="orgShifts") == [first.id]
    assert found(state=State.COMPLETED) == found(until=second.received_at) == [first.id]
    assert found(since=second.received_at) == [second.id]
    assert found(name="jan_100%") == [first.id]
    assert found(name="%_1") == []


def test_counts_name_every_state(in_memory):
    in_memory.accept()
    in_memory.accept(in_memory.upload(organisation="other"))
    in_memory.settle(in_memory.claim()[0], COMPLETED)

    every = in_memory.result(in_memory.uploads.counts())
    one = in_memory.result(in_memory.uploads.counts("acme"))

    assert every == {State.PENDING: 1, State.PROCESSING: 0, State.COMPLETED: 1, State.FAILED: 0}
    assert one == {State.PENDING: 0, State.PROCESSING: 0, State.COMPLETED: 1, State.FAILED: 0}


def test_a_retry_takes_a_failed_upload_back_with_a_new_job(bench):
    upload = bench.accept()
    failed = {"state": State.FAILED, "problem": "not a number", "problem_count": 1, "rows": 0, "rejected": 1}
    bench.settle(bench.claim()[0], Outcome(done=True, upload=failed, problems=(Problem("not a number", 2),)))

    retried = bench.result(bench.uploads.retry(upload.id))

    assert retried == upload
    assert bench.result(bench.uploads.problems(upload.id)) == ()
    [job] = bench.claim()
    assert (job.subject, job.claims, job.failures) == (str(upload.id), 1, 0)


def test_a_retry_is_refused_for_any_but_a_failed_upload(bench):
    upload = bench.accept()

    def refused():
        with pytest.raises(PipeError) as caught:
            bench.result(bench.uploads.retry(upload.id))
        return caught.value.code, caught.value.message.split(" is ")[1]

    assert refused() == (Code.CONFLICT, "PENDING; only a FAILED one can be retried")
    [job] = bench.claim()
    assert refused() == (Code.CONFLICT, "PROCESSING; only a FAILED one can be retried")
    bench.settle(job, COMPLETED)
    assert refused() == (Code.CONFLICT, "COMPLETED; only a FAILED one can be retried")
    assert bench.result(bench.jobs.waiting()) == {}


def test_an_unknown_upload_is_said_to_be_unknown(in_memory):
    for call in (in_memory.uploads.retry, in_memory.uploads.problems):
        with pytest.raises(PipeError) as caught:
            in_memory.result(call(uuid4()))
        assert caught.value.code is Code.NOT_FOUND
    assert in_memory.result(in_memory.uploads.get(uuid4())) is None


def test_retention_forgets_copies_first_and_then_records_of_what_has_ended(bench):
    old, young, waiting = bench.accept(), bench.accept(), bench.accept()
    old_job, young_job, _ = bench.claim(3)
    bench.settle(old_job, Outcome(reason="gone", problems=(Problem("gone"),)))
    bench.clock.advance(100)
    bench.settle(young_job, COMPLETED)
    before = utc(bench.clock)

    copies = bench.result(bench.uploads.old_copies(before, 10))
    bench.result(bench.uploads.copies_deleted([upload_id for upload_id, _ in copies]))
    with pytest.raises(PipeError, match="sent again"):
        bench.result(bench.uploads.retry(old.id))
    forgotten = bench.result(bench.uploads.forget(before, 10))

    assert copies == [(old.id, old.object_key)]
    assert forgotten == 1
    assert bench.result(bench.uploads.get(old.id)) is None
    assert bench.result(bench.uploads.keys()) == {young.object_key, waiting.object_key}
    assert bench.result(bench.uploads.old_copies(before, 10)) == []


MAY = {
    State.PENDING: {State.PENDING, State.PROCESSING},
    State.PROCESSING: {State.PROCESSING, State.PENDING, State.COMPLETED, State.FAILED},
    State.COMPLETED: {State.COMPLETED},
    State.FAILED: {State.FAILED},
}
FAILED = Outcome(done=True, upload={"state": State.FAILED, "problem": "bad"})
MOVES = ["claim", "complete", "fail", "again", "die", "renew", "wait", "retry"]


@settings(max_examples=40 * int(os.environ.get("PIPE_DOSE", "1")), deadline=None)
@given(moves=st.lists(st.sampled_from(MOVES), max_size=15))
def test_states_move_only_as_ruled_whatever_the_order_of_calls(moves):
    """Ruling 7, with stale jobs settled as well as fresh ones."""
    database = catalogs.in_memory()
    bench = Bench(database, Pump())
    upload = bench.accept()
    jobs: list[Job] = []
    outcomes = {
        "complete": COMPLETED,
        "fail": FAILED,
        "again": Outcome(retry_at=utc(bench.clock)),
        "die": Outcome(reason="dead"),
    }
    before = State.PENDING

    for move in moves:
        may = MAY[before]
        if move == "claim":
            jobs += bench.claim(lease_s=10)
        elif move == "renew" and jobs:
            bench.result(bench.jobs.renew(jobs[0], 10))
        elif move == "wait":
            bench.clock.advance(11)
        elif move == "retry":
            try:
                bench.result(bench.uploads.retry(upload.id))
                assert before is State.FAILED
                may = {State.PENDING}
            except PipeError as error:
                assert error.code is Code.CONFLICT and before is not State.FAILED
        elif jobs and move in outcomes:
            settled = bench.settle(jobs.pop(0), outcomes[move])
            assert not settled or before is State.PROCESSING
        after = bench.state(upload)
        assert after in may
        alive = bench.result(bench.jobs.waiting()).get("ingest", 0)
        assert alive == (1 if after in (State.PENDING, State.PROCESSING) else 0)
        before = after
    database.close()


def test_a_clients_text_stays_text(in_memory):
    name = "'; DROP TABLE uploads; -- \u202e.csv"

    recorded = in_memory.accept(in_memory.upload(id=new_id(utc(in_memory.clock)), name=name))

    assert in_memory.result(in_memory.uploads.get(recorded.id)).name == name
