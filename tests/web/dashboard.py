"""Uploads with a verdict, and what stands in a page, for tests of the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conch_pipe.model import Job, Outcome, Problem, State, Upload, new_id, utc
from tests.web.conftest import Answer, Door


def text(answer: Answer) -> str:
    """A page that is well."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.body.decode()


def received(door: Door, name: str = "shifts.csv", content: bytes = b"a,b\n1,2\n", **changes: Any) -> Upload:
    """A file was received and waits."""
    at = utc(door.clock)
    upload_id = new_id(at)
    values: dict[str, Any] = {
        "organisation": "acme", "client_id": door.client_id, "door": "sftp", "schema": "orgShifts", "name": name,
        "bytes": len(content), "sha256": "ab" * 32, "object_key": f"raw/{upload_id}", "peer": "192.0.2.1",
    }  # fmt: skip
    upload = Upload(id=upload_id, state=State.PENDING, received_at=at, **{**values, **changes})
    job = Job("ingest", str(upload.id), at)
    return door.now(door.catalog.uploads.accept(upload, job, same_within_s=0, content=content))


def judged(door: Door, upload: Upload, problems: Sequence[Problem] = (), count: int = 0) -> Upload:
    """The upload that waits has its verdict: COMPLETED without problems."""
    [job] = door.now(door.catalog.jobs.claim(["ingest"], 1, 60))
    if not problems:
        columns: dict[str, Any] = {"state": State.COMPLETED, "rows": 1, "rejected": 0, "seconds": {"load": 0.5}}
        door.now(door.catalog.jobs.settle(job, Outcome(done=True, upload=columns)))
    else:
        reason = problems[0].reason
        columns = {"state": State.FAILED, "problem": reason, "problem_count": count or len(problems)}
        door.now(door.catalog.jobs.settle(job, Outcome(reason=reason, upload=columns, problems=tuple(problems))))
    found: Upload = door.now(door.catalog.uploads.get(upload.id))
    return found


def failed(door: Door, name: str = "shifts.csv", reason: str = "no header", **changes: Any) -> Upload:
    """A file was received and is no good."""
    return judged(door, received(door, name, **changes), [Problem(reason)])
