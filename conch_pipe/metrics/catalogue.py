"""Every metric there is, in one place: its name, its labels and which values they have.

``docs/monitoring.md`` has the same list; dashboards and alert rules in ``etc/`` use no other name (tests/metrics).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from conch_pipe.events import CATALOGUE
from conch_pipe.model import PushState, Status

OPEN = frozenset({"organisation", "schema"})  # labels whose values the operator makes: their number is capped
ROUTE = "route"  # its values are the patterns of the routes

_SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (*_SHORT, 60.0, 300.0, 1800.0, 7200.0)
_HOURS = (10.0, 60.0, 300.0, 1800.0, 3600.0, 14_400.0, 50_400.0, 93_600.0, 180_000.0, 270_000.0)
_LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(frozen=True, slots=True)
class Metric:
    """One of them.

    :ivar values: of labels that have a fixed list; when all have one, every set is there from the start, as zero.
    :ivar buckets: upper bounds of a histogram, without infinity.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str, **values: tuple[str, ...]) -> Metric:
    return Metric(f"pipe_sftp_{name}_total", "counter", text, labels + tuple(values), values)


def _gauge(name: str, text: str, *labels: str, **values: tuple[str, ...]) -> Metric:
    return Metric(f"pipe_sftp_{name}", "gauge", text, labels + tuple(values), values)


def _spread(name: str, text: str, buckets: tuple[float, ...], *labels: str, **values: tuple[str, ...]) -> Metric:
    return Metric(f"pipe_sftp_{name}_seconds", "histogram", text, labels + tuple(values), values, buckets)


_DOORS = ("sftp", "http")
_ALL_DOORS = (*_DOORS, "cli")
STAGES = ("receive", "finish", "store", "record", "accept", "wait", "check", "load", "total")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "-", "other")
FAILED_LOGINS = ("unknown", "revoked", "secret")
REMOTE_STATES = ("enabled", "operator", "host_key", "credentials")
WEBHOOK_STATES = ("enabled", "operator", "gone")
KINDS = ("ingest", "push", "retention", "notify")
PLACES = ("spool", "catalog", "objects", "warehouse")

# Counted from events, in every process that tells some.
EVENTS = _counter("events", "Events by their name; docs/events.md lists them.", event=tuple(CATALOGUE))
UPLOADS = _counter("uploads", "Uploads with a verdict.", "organisation", "schema", verdict=("completed", "failed"))
ROWS = _counter("upload_rows", "Rows loaded into the analytics database.", "organisation", "schema")
REJECTED = _counter("upload_rejected_rows", "Rows left out of uploads that completed.", "organisation", "schema")
RECEIVED = _counter("uploads_received", "Files taken.", "organisation", "schema", door=_ALL_DOORS)
BYTES = _counter("upload_bytes", "Bytes of files taken.", "organisation", "schema", door=_ALL_DOORS)
REFUSED = _counter("uploads_refused", "Files refused at the door, by the code of the refusal.", "organisation", "code")
STAGE_SECONDS = _spread(
    "upload_stage", "What took how long: receive to accept at the door, wait to total up to the verdict.",
    _LONG, stage=STAGES,
)  # fmt: skip
LOGINS = _counter(
    "logins", "Logins of clients, and of people at the dashboard.", door=(*_DOORS, "dashboard"),
    outcome=("ok", *FAILED_LOGINS),
)  # fmt: skip
TURNED_AWAY = _counter(
    "connections_refused",
    "Connections refused or ended early, as the log tells them; of a flood it tells only some.",
    door=_DOORS,
)
RECORDINGS = _counter(
    "recordings", "Recordings handed over.", "organisation", outcome=("accepted", "repeated", "refused")
)
ATTEMPTS = _counter(
    "push_attempts", "Attempts to bring a recording to a remote.", "organisation",
    status=tuple(one.value for one in Status),
)  # fmt: skip
PUSHED_BYTES = _counter("push_bytes", "Bytes sent to remotes.", "organisation")
PUSHES_ENDED = _counter(
    "pushes_ended", "Recordings that have arrived at a remote, or were given up for it.", "organisation",
    outcome=("delivered", "given_up"),
)  # fmt: skip
ATTEMPT_SECONDS = _spread("push_attempt", "How long attempts took.", _LONG)
DELIVERY_SECONDS = _spread("push_delivery", "From a recording's hand-over to its arrival at a remote.", _HOURS)
NOTICES = _counter("webhook_attempts", "Requests to webhooks.", outcome=("ok", "failed"))
NOTICE_SECONDS = _spread("webhook_attempt", "How long requests to webhooks took.", _SHORT)
REQUESTS = _counter(
    "http_requests", "Requests over HTTP; status 0: there was nobody to answer.", ROUTE, "method", "status"
)
REQUEST_SECONDS = _spread("http_request", "From the end of a request's header to its answer.", _SHORT, ROUTE)
REQUEST_BYTES = _counter("http_received_bytes", "Bytes of bodies received over HTTP.")
LAG = _spread(
    "reactor_lag", "How late the event loop is: parent is the service itself, door a process that takes connections.",
    _LAG, process=("parent", "door"),
)  # fmt: skip

COUNTED = (
    EVENTS, UPLOADS, ROWS, REJECTED, RECEIVED, BYTES, REFUSED, STAGE_SECONDS, LOGINS, TURNED_AWAY, RECORDINGS, ATTEMPTS,
    PUSHED_BYTES, PUSHES_ENDED, ATTEMPT_SECONDS, DELIVERY_SECONDS, NOTICES, NOTICE_SECONDS, REQUESTS, REQUEST_SECONDS,
    REQUEST_BYTES, LAG,
)  # fmt: skip

# Looked up when somebody asks.
BUILD = _gauge("build_info", "Always 1; the labels tell the versions.", "version", "python", "twisted")
READY = _gauge("ready", "1 while /readyz answers 200.")
CHECK_OK = _gauge("check_ok", "1 while this check of /readyz is well.", "check")
CHECK_SECONDS = _gauge("check_seconds", "How long that check took.", "check")
SESSIONS = _gauge("sessions", "SFTP sessions that are logged in.")
CONNECTIONS = _gauge("connections", "Connections, logged in or not.", door=_DOORS)
RUNNING = _gauge("uploads_running", "Files that are being received.")
JOBS = _gauge(
    "jobs", "Jobs of the queue: later, due, or being worked on.", kind=KINDS, state=("later", "due", "running")
)
JOB_AGE = _gauge("job_age_seconds", "How long the oldest due job has been due; 0 without one.", kind=KINDS)
PUSHES = _gauge("pushes", "Recordings on their way to remotes, by state.", state=tuple(one.value for one in PushState))
PRESSING = _gauge("pushes_pressing", "Pushes that have not arrived and have at most three attempts left.")
REMOTES = _gauge("remotes", "Remotes that are enabled, or by what they are disabled.", state=REMOTE_STATES)
WEBHOOKS = _gauge("webhooks", "Webhooks that are enabled, or by what they are disabled.", state=WEBHOOK_STATES)
DISK_FREE = _gauge("disk_free_bytes", "Room for us on the disk of this place.", place=PLACES)
DISK_SIZE = _gauge("disk_size_bytes", "Size of the disk of this place.", place=PLACES)
DISK_LEAST = _gauge("disk_least_bytes", "Below so many free bytes on the spool's disk uploads are refused.")
CHILDREN = _gauge("children", "Processes of ours besides the parent.", kind=("door", "worker"))
CHILDREN_MEMORY = _gauge("children_resident_memory_bytes", "Their resident memory.", kind=("door", "worker"))
CHILDREN_CPU = _counter("children_cpu_seconds", "CPU time of all of them, also of those that have ended.")
CERTIFICATE = _gauge("certificate_expiry_timestamp_seconds", "When the TLS certificate in use expires; POSIX time.")

GAUGES = (
    BUILD, READY, CHECK_OK, CHECK_SECONDS, SESSIONS, CONNECTIONS, RUNNING, JOBS, JOB_AGE, PUSHES, PRESSING, REMOTES,
    WEBHOOKS, DISK_FREE, DISK_SIZE, DISK_LEAST, CHILDREN, CHILDREN_MEMORY, CHILDREN_CPU, CERTIFICATE,
)  # fmt: skip

Sample = tuple[Metric, tuple[str, ...], float]  # of a gauge, with its labels in order

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (*COUNTED, *GAUGES)}
