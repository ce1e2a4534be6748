"""Webhooks: what they are told is there exactly when what it tells of is; their secrets, limits and log."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from conch_pipe.catalog.queries import delivery
from conch_pipe.catalog.queries.webhooks import MOST, NoticeFilter
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import (
    Answer,
    Happening,
    Notice,
    NoticeResult,
    Outcome,
    Problem,
    PushState,
    RemoteSecrets,
    Report,
    Shape,
    State,
    Status,
)
from tests.catalog.conftest import COMPLETED

URL = "https://hooks.example/pipe"


def hook(bench, *events, **how):
    """A webhook of acme, which is made when missing; all events without any."""
    if bench.result(bench.catalog.organisations.get("acme")) is None:
        bench.result(bench.catalog.organisations.create("acme"))
    return bench.result(bench.catalog.webhooks.add("acme", URL, events or tuple(Happening), **how))[0]


def messages(bench):
    """Claim what is to be sent: (webhook, document)."""
    jobs = bench.result(bench.jobs.claim(["notify"], 100, 60))
    return [(job.lane, json.loads(job.payload["body"])) for job in jobs]


def uploaded(bench, outcome, **changes):
    bench.accept(bench.upload(**changes))
    [job] = bench.result(bench.jobs.claim(["ingest"], 10, 60))
    assert bench.settle(job, outcome)
    return job


def sent(bench, job, answer, **how):
    """Settle an attempt at a message."""
    event = job.payload["event"]
    notice = Notice(job.lane, job.subject, event, job.failures + 1, bench.now(), answer, how.pop("next_at", None))
    result = NoticeResult(notice, **how)
    return bench.settle(job, Outcome(done=not answer.reason, notice=result))


def test_an_upload_is_told_of_to_every_webhook_that_asked(bench):
    one, other = hook(bench), hook(bench, Happening.UPLOAD_COMPLETED)
    hook(bench, Happening.UPLOAD_FAILED)

    uploaded(bench, COMPLETED)

    told = messages(bench)
    assert {webhook for webhook, _ in told} == {one.id, other.id}
    document = told[0][1]
    assert (document["type"], document["timestamp"]) == ("upload.completed", "2027-01-15T08:00:00.000Z")
    data = document["data"]
    assert (data["organisation"], data["state"], data["rows"], data["name"]) == ("acme", "COMPLETED", 2, "a.csv")


def test_a_failed_upload_is_told_with_its_first_problems_and_no_value_of_the_file(in_memory):
    bench = in_memory
    hook(bench)
    found = tuple(Problem("not an integer", line, line - 1, "id", "secret value") for line in range(2, 40))
    columns = {"state": State.FAILED, "problem": "x" * 5_000, "problem_count": 38}

    uploaded(bench, Outcome(done=True, upload=columns, problems=found))

    [(_, document)] = messages(bench)
    assert document["type"] == "upload.failed"
    assert document["data"]["problems"][0] == {"reason": "not an integer", "line": 2, "row": 1, "column": "id"}
    assert len(document["data"]["problems"]) == 10 and len(document["data"]["problem"]) == 500
    assert "secret value" not in json.dumps(document)


def test_a_retried_upload_is_told_of_when_it_ends(in_memory):
    bench = in_memory
    hook(bench)
    job = uploaded(bench, Outcome(retry_at=bench.now(), reason="again"))
    assert messages(bench) == []

    [job] = bench.result(bench.jobs.claim(["ingest"], 1, 60))
    bench.settle(job, Outcome(reason="dead"))

    assert [document["type"] for _, document in messages(bench)] == ["upload.failed"]


def test_a_settle_that_is_undone_or_stale_tells_nobody(bench):
    hook(bench)
    bench.accept(bench.upload())
    [job] = bench.result(bench.jobs.claim(["ingest"], 10, 1))
    bench.clock.advance(2)
    [again] = bench.result(bench.jobs.claim(["ingest"], 10, 60))

    assert not bench.settle(job, COMPLETED)
    with pytest.raises(ValueError, match="not columns"):
        bench.settle(again, Outcome(done=True, upload={"state": State.COMPLETED, "peer": "x"}))

    assert messages(bench) == []


def test_nobody_else_is_told(in_memory):
    bench = in_memory
    gone = hook(bench)
    bench.result(bench.catalog.webhooks.disable(gone.id))
    bench.environment(name="live")
    hook(bench, environment="live")
    bench.result(bench.catalog.organisations.create("other"))
    bench.result(bench.catalog.webhooks.add("other", URL, tuple(Happening)))

    uploaded(bench, COMPLETED)

    assert messages(bench) == []


def test_a_delivered_recording_is_told_of_in_its_environment_and_in_both_shapes(bench):
    bench.environment("north")
    bench.environment("south", name="test")
    here = hook(bench, Happening.RECORDING_PUSHED, environment="live")
    pipe = hook(bench, Happening.RECORDING_PUSHED, shape=Shape.PIPE)
    hook(bench, Happening.RECORDING_PUSHED, environment="test")
    bench.recorded()

    [job] = bench.claim_pushes()
    bench.attempt(job, PushState.DELIVERED, Status.OK)

    told = dict(messages(bench))
    assert told.keys() == {here.id, pipe.id}
    data = told[here.id]["data"]
    assert (data["recording_id"], data["remote"], data["environment"]) == ("r1", "north", "live")
    assert [(file["role"], file["arrived"]) for file in data["files"]] == [("main", True), ("snapshot", True)]
    assert "/srv" not in json.dumps(told)
    assert told[pipe.id] == {
        "version": "1.0",
        "event": "video_copied_ftp",
        "data": {"ftpUploadStatus": "upload success", "videoName": "call", "type": "MP4", "size": 7, "id": "r1"},
    }


def test_a_recording_is_given_up_once(bench):
    bench.environment("north")
    hook(bench, Happening.RECORDING_GIVEN_UP)
    recording, _ = bench.recorded()
    [job] = bench.claim_pushes()
    bench.attempt(job, PushState.GIVEN_UP)
    bench.result(bench.pushes.retry(recording.uid))
    [job] = bench.claim_pushes()
    bench.attempt(job, PushState.GIVEN_UP)

    assert [document["type"] for _, document in messages(bench)] == ["recording.given_up"]


def test_a_removed_remote_gives_its_recordings_up(in_memory):
    bench = in_memory
    bench.environment("north")
    hook(bench, Happening.RECORDING_GIVEN_UP)
    bench.recorded()

    bench.result(bench.remotes.remove("north"))

    [(_, document)] = messages(bench)
    assert [file["reason"] for file in document["data"]["files"]] == ["removed", "removed"]


def test_a_disabled_remote_is_told_of_once_whoever_disabled_it(bench):
    bench.environment("north")
    hook(bench, Happening.REMOTE_DISABLED)
    bench.recorded()
    bench.recorded("r2")
    for job in bench.claim_pushes():
        report = Report(Status.HOST_KEY_MISMATCH, "host_key", refused_key=b"new")
        bench.attempt(job, PushState.WAITING, report=report, disable="host_key")

    [(_, document)] = messages(bench)
    data = document["data"]
    assert (data["remote"], data["reason"], data["environments"]) == ("north", "host_key", ["live"])
    assert data["refused_host_key"].startswith("SHA256:")
    bench.result(bench.remotes.enable("north"))
    bench.result(bench.remotes.disable("north"))
    bench.result(bench.remotes.disable("north"))
    assert [document["data"]["reason"] for _, document in messages(bench)] == ["operator"]
    bench.result(bench.remotes.enable("north"))
    bench.result(bench.remotes.edit("north", {}, {"password": None}))
    assert [document["data"]["reason"] for _, document in messages(bench)] == ["credentials"]


def test_a_revoked_credential_is_told_of_once(in_memory):
    bench = in_memory
    hook(bench)
    credential, secret = bench.result(bench.catalog.credentials.create("acme", "payroll"))

    bench.result(bench.catalog.credentials.revoke(credential.client_id))
    bench.result(bench.catalog.credentials.revoke(credential.client_id))

    [(_, document)] = messages(bench)
    assert (document["type"], document["data"]["label"]) == ("credential.revoked", "payroll")
    assert document["data"]["client_id"] == credential.client_id and secret not in json.dumps(document)


def test_the_secret_is_sealed_and_both_sign_while_the_receiver_changes_over(bench):
    webhook, first = bench.result(bench.catalog.webhooks.add(hook(bench).organisation, URL, tuple(Happening)))
    secrets = bench.catalog.webhooks.secrets
    assert first.startswith("whsec_") and bench.result(secrets(webhook.id)) == (first,)

    _, second = bench.result(bench.catalog.webhooks.rotate(webhook.id, 3_600))

    assert bench.result(secrets(webhook.id)) == (second, first)
    bench.clock.advance(3_601)
    assert bench.result(secrets(webhook.id)) == (second,)
    _, third = bench.result(bench.catalog.webhooks.rotate(webhook.id, 0))
    assert bench.result(secrets(webhook.id)) == (third,)
    for table in ("webhooks", "jobs"):
        rows = bench.result(
            bench.database.read(lambda one, table=table: one.exec_driver_sql(f"SELECT * FROM {table}").all())
        )
        assert not any(one in repr(rows) for one in (first, second, third))


def test_signing_secrets_live_through_a_new_key(bench):
    webhook, secret = bench.result(bench.catalog.webhooks.add(hook(bench).organisation, URL, tuple(Happening)))
    _, fresh = bench.result(bench.catalog.webhooks.rotate(webhook.id))
    bench.remote(secrets=RemoteSecrets("kanarek"))

    bench.keys.rotate()
    assert bench.result(bench.remotes.reseal_all()) == 4  # two webhooks, one with two; a password
    bench.keys.retire()

    assert bench.result(bench.catalog.webhooks.secrets(webhook.id)) == (fresh, secret)


def test_a_sealed_secret_of_another_webhook_is_none(in_memory):
    bench = in_memory
    one, other = hook(bench), hook(bench)
    bench.result(
        bench.database.write(
            lambda connection: connection.exec_driver_sql(
                "UPDATE webhooks SET sealed = (SELECT sealed FROM webhooks WHERE id = ?) WHERE id = ?",
                (one.id, other.id),
            )
        )
    )

    with pytest.raises(PipeError, match=f"signing secret of webhook {other.id} cannot be unsealed"):
        bench.result(bench.catalog.webhooks.secrets(other.id))


def test_attempts_are_logged_and_410_disables(bench):
    webhook = hook(bench)
    uploaded(bench, COMPLETED)
    [job] = bench.result(bench.jobs.claim(["notify"], 10, 60))

    assert sent(bench, job, Answer(410, "gone", "no more", "bye"), disable="gone")

    [notice] = bench.result(bench.catalog.webhooks.log(NoticeFilter(webhook=webhook.id, failed=True)))
    assert (notice.message, notice.event, notice.number) == (job.subject, "upload.completed", 1)
    assert (notice.answer.status, notice.answer.reason, notice.answer.body) == (410, "gone", "bye")
    now = bench.result(bench.catalog.webhooks.get(webhook.id))
    assert (now.enabled, now.disabled_reason) == (False, "gone")


def test_a_410_from_before_a_change_disables_nothing(in_memory):
    bench = in_memory
    webhook = hook(bench)
    uploaded(bench, COMPLETED)
    [job] = bench.result(bench.jobs.claim(["notify"], 10, 60))
    notice = Notice(webhook.id, job.subject, "upload.completed", 1, bench.now(), Answer(410, "gone"))
    bench.clock.advance(1)
    bench.result(bench.catalog.webhooks.enable(webhook.id))

    bench.settle(job, Outcome(notice=NoticeResult(notice, disable="gone")))

    assert bench.result(bench.catalog.webhooks.get(webhook.id)).enabled


def test_what_waits_is_sent_when_it_is_enabled_and_gone_when_it_is_removed(bench):
    webhook = hook(bench)
    uploaded(bench, COMPLETED)
    [job] = bench.result(bench.jobs.claim(["notify"], 10, 60))
    later = bench.now() + timedelta(hours=1)
    notice = Notice(webhook.id, job.subject, "upload.completed", 1, bench.now(), Answer(500, "status"), later)
    bench.settle(job, Outcome(retry_at=later, notice=NoticeResult(notice)))
    assert messages(bench) == []

    bench.result(bench.catalog.webhooks.enable(webhook.id))
    [job] = bench.result(bench.jobs.claim(["notify"], 10, 60))

    assert bench.result(bench.catalog.webhooks.waiting(webhook.id)) == 1
    assert bench.result(bench.catalog.webhooks.remove(webhook.id)) == 1
    assert not sent(bench, job, Answer(200))
    assert bench.result(bench.catalog.webhooks.log()) == ()
    assert bench.result(bench.catalog.webhooks.get(webhook.id)) is None
    with pytest.raises(PipeError) as caught:
        bench.result(bench.catalog.webhooks.remove(webhook.id))
    assert caught.value.code is Code.NOT_FOUND


def test_the_log_is_forgotten_with_the_messages_that_have_ended(bench):
    hook(bench)
    uploaded(bench, COMPLETED)
    [job] = bench.result(bench.jobs.claim(["notify"], 10, 60))
    sent(bench, job, Answer(200))

    assert bench.result(bench.catalog.webhooks.forget(bench.now(), 10)) == 0
    assert bench.result(bench.catalog.webhooks.forget(bench.now() + timedelta(seconds=1), 10)) == 1

    assert bench.result(bench.catalog.webhooks.log()) == ()
    left = bench.result(bench.database.read(lambda one: one.exec_driver_sql("SELECT kind FROM jobs").all()))
    assert [tuple(row) for row in left] == [("ingest",)]


def test_what_does_not_exist_and_what_is_too_much(in_memory):
    bench = in_memory
    with pytest.raises(PipeError) as caught:
        bench.result(bench.catalog.webhooks.add("nobody", URL, ()))
    assert caught.value.code is Code.NOT_FOUND
    for _ in range(MOST):
        hook(bench)
    with pytest.raises(PipeError) as caught:
        hook(bench)
    assert caught.value.code is Code.CONFLICT
    with pytest.raises(PipeError) as caught:
        hook(bench, environment="nowhere")
    assert caught.value.code in (Code.NOT_FOUND, Code.CONFLICT)
    assert delivery.RETENTION != "notify"
