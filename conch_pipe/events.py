"""The one catalogue of countable things, and the fan-out that tells every listener.

An event is also a log line: its sentence with named fields. ``tests/core/test_events.py`` holds emitters,
catalogue and ``docs/events.md`` together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import time
from typing import Any

from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from conch_pipe.interfaces import IEvents


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event: a stable dotted name and the sentence it logs."""

    name: str
    sentence: str
    level: LogLevel = LogLevel.info


@dataclass(frozen=True, slots=True)
class Event:
    """One occurrence; fields are short and never secret."""

    kind: Kind
    fields: Mapping[str, Any]


SERVICE_STARTED = Kind("service.started", "listening on port {ssh_port}, process {pid}")
SERVICE_DRAINING = Kind("service.draining", "draining: {uploads} uploads running, at most {seconds} s")
SERVICE_STOPPED = Kind("service.stopped", "stopped after {seconds:.1f} s")
DOOR_READY = Kind("door.ready", "door process {pid} takes connections after {seconds:.1f} s")
DOOR_DIED = Kind("door.died", "door process {pid} died: {reason}", LogLevel.error)
DOOR_ENDED = Kind("door.ended", "door process {pid} has ended: {reason}", LogLevel.debug)
DOORS_REPLACED = Kind("doors.replaced", "all {count} door processes are fresh, after {seconds:.1f} s")
DOORS_KEPT = Kind("doors.kept", "door processes are not replaced: {reason}", LogLevel.error)

SESSION_OPENED = Kind("session.opened", "{address} connected as {session}")
SESSION_REFUSED = Kind("session.refused", "{address} refused: {reason}", LogLevel.warn)
SESSION_DISAGREED = Kind(
    "session.disagreed",
    "{address} with {banner} has no {what} in common with us: it offers {client}, we offer {server}",
    LogLevel.warn,
)
SESSION_CLOSED = Kind(
    "session.closed", "{session} from {address} ended after {seconds:.1f} s: {reason}, {uploads} uploads"
)
LOGIN_SUCCEEDED = Kind("login.succeeded", "{client_id} of {organisation} logged in from {address} with {banner}")
LOGIN_FAILED = Kind("login.failed", "login failed from {address} with {banner}", LogLevel.warn)
HOST_KEY_OLD = Kind("hostkey.old", "{client_id} from {address} with {banner} still goes by host key {host_key}")
HOST_KEY_LEARNT = Kind("hostkey.learnt", "{client_id} from {address} has learnt host key {host_key}")
CREDENTIAL_REVOKED = Kind("credential.revoked", "{client_id} was revoked: {sessions} sessions ended", LogLevel.warn)

PERSON_SIGNED_IN = Kind("person.signed_in", "{person} signed in from {address} with {banner}")
PERSON_SIGN_IN_FAILED = Kind("person.sign_in_failed", "a sign-in failed from {address} with {banner}", LogLevel.warn)
PERSON_SIGNED_OUT = Kind("person.signed_out", "{person} signed out from {address}")

UPLOAD_BEGUN = Kind("upload.begun", "upload {upload_id}: {client_id} puts {name} into {schema}")
UPLOAD_REFUSED = Kind("upload.refused", "{client_id}: {name} refused in {schema}: {problem}", LogLevel.warn)
UPLOAD_ABORTED = Kind("upload.aborted", "upload {upload_id} dropped after {bytes} bytes: {reason}", LogLevel.warn)
UPLOAD_UNKNOWN = Kind(
    "upload.unknown", "upload {upload_id}: whether it was recorded is unknown, no answer was given", LogLevel.error
)
UPLOAD_STORED = Kind(
    "upload.stored",
    "upload {upload_id}: {name} of {client_id} ({organisation}) into {schema} by {door} from {address}, "
    "{bytes} bytes, sha256 {sha256}, {seconds:.3f} s",
)
UPLOAD_REPEATED = Kind("upload.repeated", "{name} of {client_id} is upload {upload_id} again, same bytes")
UPLOAD_COMPLETED = Kind(
    "upload.completed", "upload {upload_id} completed: {rows} rows, {rejected} rejected, {seconds:.3f} s"
)
UPLOAD_FAILED = Kind("upload.failed", "upload {upload_id} failed: {problem}", LogLevel.warn)
UPLOAD_DELAYED = Kind("upload.delayed", "upload {upload_id} waits: {reason}", LogLevel.warn)

RECORDING_ACCEPTED = Kind(
    "recording.accepted",
    "recording {recording_id} of {organisation}/{environment}: {name}, {files} files, {bytes} bytes, for {remotes}, "
    "{seconds:.3f} s",
)
RECORDING_REPEATED = Kind("recording.repeated", "recording {recording_id} of {organisation}/{environment} again")
RECORDING_REFUSED = Kind(
    "recording.refused", "recording {recording_id} of {organisation}/{environment} refused: {problem}", LogLevel.warn
)
MANIFEST_REFUSED = Kind("manifest.refused", "manifest {manifest} refused: {problem}", LogLevel.warn)
MANIFEST_DELAYED = Kind("manifest.delayed", "manifest {manifest} waits: {reason}", LogLevel.warn)

RECORDING_KEPT = Kind(
    "recording.kept", "recording {recording_id} of {organisation}: {reason}, its files are kept {until}"
)
RECORDING_CLEARED = Kind(
    "recording.cleared", "recording {recording_id} of {organisation} is everywhere, {files} files deleted here"
)
RECORDING_PURGE_SOON = Kind(
    "recording.purge_soon",
    "recording {recording_id} of {organisation} never reached {remotes}: its files are deleted on {until}",
    LogLevel.warn,
)
RECORDING_PURGED = Kind(
    "recording.purged",
    "recording {recording_id} of {organisation} never reached {remotes}: {files} files deleted",
    LogLevel.warn,
)
RECORDING_LEFT = Kind(
    "recording.left",
    "recording {recording_id} of {organisation}: {file} is not deleted, it is {reason}",
    LogLevel.warn,
)

PUSH_PROGRESS = Kind(
    "push.progress", "push {push_id}: {sent} of {size} bytes of {file} have arrived at {remote}", LogLevel.debug
)
PUSH_ATTEMPTED = Kind(
    "push.attempted",
    "recording {recording_id} of {organisation} to {remote}, attempt {number}: {bytes} bytes, {seconds:.3f} s, "
    "{status} {reason}",
)
PUSH_DELIVERED = Kind(
    "push.delivered",
    "recording {recording_id} of {organisation} has arrived at {remote}: {files} files, {bytes} bytes, {seconds:.3f} s "
    "after it was saved",
)
PUSH_GIVEN_UP = Kind(
    "push.given_up",
    "recording {recording_id} of {organisation} is given up for {remote} after {attempts} attempts: {reason}",
    LogLevel.error,
)
REMOTE_DISABLED = Kind(
    "remote.disabled", "remote {remote} is disabled: it shows host key {new} instead of {old}", LogLevel.error
)
REMOTE_INSECURE = Kind(
    "remote.insecure",
    "remote {remote} takes any host key: whoever answers at {host} port {port} gets what is sent there",
    LogLevel.warn,
)

WEBHOOK_ATTEMPTED = Kind(
    "webhook.attempted",
    "message {message} ({type}) to webhook {webhook}, attempt {number}: {status} {reason}, {seconds:.3f} s",
)
WEBHOOK_GIVEN_UP = Kind(
    "webhook.given_up",
    "message {message} ({type}) to webhook {webhook} is given up after {attempts} attempts: {reason}",
    LogLevel.error,
)
WEBHOOK_DISABLED = Kind("webhook.disabled", "webhook {webhook} is disabled: {reason}", LogLevel.error)

WEB_REQUEST = Kind(
    "web.request", "{address} {method} {route}: {status}, {received} bytes, {seconds:.3f} s", LogLevel.debug
)
OPERATION_ASKED = Kind("operation.asked", "{actor} from {address}: {method} {path}: {status}")
WEB_STARTED = Kind("web.started", "HTTP at {url}")
WEB_CERTIFICATE = Kind("web.certificate", "TLS certificate of {names}, valid until {until}")
WEB_CERTIFICATE_REFUSED = Kind(
    "web.certificate_refused",
    "the new TLS certificate cannot be used, the last good one stays: {reason}",
    LogLevel.error,
)

WORKER_STARTED = Kind("worker.started", "worker {pid} started", LogLevel.debug)
WORKER_DIED = Kind("worker.died", "worker {pid} died: {reason}", LogLevel.error)
WAREHOUSE_BUSY = Kind("warehouse.busy", "the analytics file is in use elsewhere; uploads wait", LogLevel.warn)
STORED_COPY_DAMAGED = Kind(
    "object.damaged", "the stored copy of upload {upload_id} is damaged or gone", LogLevel.critical
)
SPACE_LOW = Kind("disk.low", "only {free} bytes free on the spool's disk: uploads are refused", LogLevel.error)
SPACE_BACK = Kind("disk.ok", "{free} bytes free on the spool's disk: uploads are taken again")
RECOVERED = Kind("service.recovered", "recovery: {parts} part files dropped, {orphans} orphans set aside")
SCHEMAS_LOADED = Kind("schemas.loaded", "schemas: {names}")
SCHEMAS_REFUSED = Kind(
    "schemas.refused", "schema files have mistakes, the last good ones stay: {problem}", LogLevel.error
)

CATALOGUE: Mapping[str, Kind] = {kind.name: kind for kind in list(globals().values()) if isinstance(kind, Kind)}


_log = Logger(namespace="conch_pipe")


@implementer(IEvents)
class Events:
    """Tells every listener of every event; one that fails is logged and harms nobody else.

    :param listeners: functions of one Event; they return at once.
    """

    def __init__(self, listeners: tuple[Callable[[Event], None], ...] = ()) -> None:
        self.listeners = list(listeners)
        self.counts: Counter[str] = Counter()

    def note(self, kind: Kind, **fields: Any) -> None:
        """See :class:`conch_pipe.interfaces.IEvents`."""
        self.counts[kind.name] += 1
        # As Logger.emit does it, which looks through all levels for the one it was given: a third of an event's cost.
        _log.observer(
            {
                **fields,
                "event": kind.name,
                "log_logger": _log,
                "log_level": kind.level,
                "log_namespace": _log.namespace,
                "log_source": None,
                "log_format": kind.sentence,
                "log_time": time(),
            }
        )
        event = Event(kind, fields)
        for listener in self.listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - the fan-out is one of the four places that translate
                _log.failure("a listener of {event} failed", event=kind.name)
