"""The words of the product as frozen values that cross from room to room.

Times are timezone-aware UTC. Sizes are bytes.
"""

from conch_pipe.model.deliveries import Delivery, Shown, Submitted
from conch_pipe.model.jobs import Job, Outcome, ingest_job
from conch_pipe.model.pages import Page, page
from conch_pipe.model.people import Actor, Person, Position, Scope, Token, password_digest
from conch_pipe.model.pushes import Attempt, FileResult, Push, PushResult, PushState, Report, Status
from conch_pipe.model.recordings import Environment, RecordedFile, Recording, Role
from conch_pipe.model.remotes import Pin, Remote, RemoteSecrets
from conch_pipe.model.tenants import Client, Credential, Organisation, Peer, Secret
from conch_pipe.model.times import new_id, utc
from conch_pipe.model.uploads import Problem, State, Upload, Verdict
from conch_pipe.model.webhooks import (
    LONGEST_URL,
    OF_ENVIRONMENTS,
    TEST,
    Answer,
    Happening,
    Notice,
    NoticeResult,
    Shape,
    Webhook,
)

__all__ = [
    "LONGEST_URL",
    "OF_ENVIRONMENTS",
    "TEST",
    "Actor",
    "Answer",
    "Attempt",
    "Client",
    "Credential",
    "Delivery",
    "Environment",
    "FileResult",
    "Happening",
    "Job",
    "Notice",
    "NoticeResult",
    "Organisation",
    "Outcome",
    "Page",
    "Peer",
    "Person",
    "Pin",
    "Position",
    "Problem",
    "Push",
    "PushResult",
    "PushState",
    "RecordedFile",
    "Recording",
    "Remote",
    "RemoteSecrets",
    "Report",
    "Role",
    "Scope",
    "Secret",
    "Shape",
    "Shown",
    "State",
    "Status",
    "Submitted",
    "Token",
    "Upload",
    "Verdict",
    "Webhook",
    "ingest_job",
    "new_id",
    "page",
    "password_digest",
    "utc",
]
