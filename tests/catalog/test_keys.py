"""An idempotency key stands for one upload for 30 days, and is never there without it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Job, State
from tests.catalog.conftest import COMPLETED

DAY = 86_400


def accept(bench, upload, key, same_within_s=0):
    job = Job("ingest", str(upload.id), upload.received_at)
    return bench.result(bench.uploads.accept(upload, job, same_within_s=same_within_s, key=key))


def test_the_same_key_and_bytes_are_the_same_upload_and_one_job(bench):
    first = accept(bench, bench.upload(), "k")
    bench.clock.advance(29 * DAY)

    again = accept(bench, bench.upload(name="other-name.csv"), "k")

    assert (again.id, again.name, again.received_at) == (first.id, "a.csv", first.received_at)
    assert len(bench.result(bench.uploads.list())) == len(bench.claim(10)) == 1


@pytest.mark.parametrize("change", [{"sha256": "cd" * 32}, {"schema": "orgTransactions"}])
def test_a_key_that_stands_for_another_file_is_refused_and_records_nothing(bench, change):
    accept(bench, bench.upload(), "k")

    with pytest.raises(PipeError) as refused:
        accept(bench, bench.upload(**change), "k")

    assert refused.value.code is Code.CONFLICT
    assert len(bench.result(bench.uploads.list())) == 1


def test_a_key_is_one_clients_own(bench):
    first = accept(bench, bench.upload(), "k")

    other = accept(bench, bench.upload(client_id="pipe_b"), "k")

    assert other.id != first.id
    assert bench.result(bench.uploads.answered("pipe_b", "k")).id == other.id
    assert bench.result(bench.uploads.answered("pipe_c", "k")) is None


def test_after_thirty_days_a_key_is_new_again(bench):
    first = accept(bench, bench.upload(), "k")
    bench.clock.advance(30 * DAY)

    assert bench.result(bench.uploads.answered("pipe_a", "k")) is None
    assert accept(bench, bench.upload(), "k").id != first.id


def test_the_answer_stays_what_it_was_when_the_upload_goes_on_and_when_its_record_is_gone(bench):
    first = accept(bench, bench.upload(), "k")
    (job,) = bench.claim()
    bench.settle(job, COMPLETED)

    assert bench.result(bench.uploads.answered("pipe_a", "k")).state is State.PENDING

    bench.result(bench.uploads.forget(bench.now() + timedelta(days=1), 10))
    assert bench.result(bench.uploads.answered("pipe_a", "k")).id == first.id


def test_an_upload_that_was_not_recorded_leaves_no_key(bench):
    """The job's row is a duplicate, so the transaction fails after the upload was written."""
    first = bench.upload()
    accept(bench, first, "one")
    twice = bench.upload(sha256="cd" * 32)
    clash = Job("ingest", None, twice.received_at)  # type: ignore[arg-type]

    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the database says
        bench.result(bench.uploads.accept(twice, clash, same_within_s=0, key="two"))

    assert bench.result(bench.uploads.answered("pipe_a", "two")) is None
    assert bench.result(bench.uploads.get(twice.id)) is None


def test_an_accept_whose_answer_was_lost_may_be_repeated(bench):
    upload = bench.upload()
    accept(bench, upload, "k")

    assert accept(bench, upload, "k").id == upload.id
    assert len(bench.result(bench.uploads.list())) == 1


def test_pages_have_every_upload_once_also_those_of_one_moment(bench):
    ids = {accept(bench, bench.upload(sha256=f"{number:064x}"), None).id for number in range(5)}
    bench.accept(bench.upload(organisation="others"))
    seen = []
    before = None
    while page := bench.result(bench.uploads.page("acme", limit=2, before=before)):
        seen += [one.id for one in page]
        before = (page[-1].received_at, page[-1].id)

    assert len(seen) == 5
    assert set(seen) == ids
