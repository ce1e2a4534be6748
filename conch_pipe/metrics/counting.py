"""What each event adds to the tally. A label is never what a client chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from conch_pipe import events
from conch_pipe.events import Event
from conch_pipe.metrics import catalogue as all_of
from conch_pipe.metrics.tally import OTHER, Tally

Fields = Mapping[str, Any]


class Counting:
    """A listener of events.

    :ivar certificate_until: POSIX time; None: no certificate is in use.
    """

    def __init__(self, tally: Tally) -> None:
        self.certificate_until: float | None = None
        self._events = tally.sum(all_of.EVENTS)
        self._uploads = tally.sum(all_of.UPLOADS)
        self._rows = tally.sum(all_of.ROWS)
        self._rejected = tally.sum(all_of.REJECTED)
        self._received = tally.sum(all_of.RECEIVED)
        self._bytes = tally.sum(all_of.BYTES)
        self._refused = tally.sum(all_of.REFUSED)
        self._stages = tally.spread(all_of.STAGE_SECONDS)
        self._logins = tally.sum(all_of.LOGINS)
        self._turned_away = tally.sum(all_of.TURNED_AWAY)
        self._recordings = tally.sum(all_of.RECORDINGS)
        self._attempts = tally.sum(all_of.ATTEMPTS)
        self._pushed = tally.sum(all_of.PUSHED_BYTES)
        self._attempt_seconds = tally.spread(all_of.ATTEMPT_SECONDS)
        self._ended = tally.sum(all_of.PUSHES_ENDED)
        self._delivery_seconds = tally.spread(all_of.DELIVERY_SECONDS)
        self._notices = tally.sum(all_of.NOTICES)
        self._notice_seconds = tally.spread(all_of.NOTICE_SECONDS)
        self._requests = tally.sum(all_of.REQUESTS)
        self._request_seconds = tally.spread(all_of.REQUEST_SECONDS)
        self._request_bytes = tally.sum(all_of.REQUEST_BYTES)
        self._methods = frozenset(all_of.METHODS)
        self._listeners: dict[str, Callable[[Fields], None]] = {
            kind.name: listener
            for kind, listener in (
                (events.UPLOAD_STORED, self._stored),
                (events.UPLOAD_COMPLETED, self._completed),
                (events.UPLOAD_FAILED, self._failed),
                (events.UPLOAD_REFUSED, self._upload_refused),
                (events.LOGIN_SUCCEEDED, self._logged_in),
                (events.LOGIN_FAILED, self._not_logged_in),
                (events.PERSON_SIGNED_IN, lambda told: self._logins.add(("dashboard", "ok"))),
                (events.PERSON_SIGN_IN_FAILED, self._not_signed_in),
                (events.SESSION_REFUSED, self._session_refused),
                (events.RECORDING_ACCEPTED, self._recording_accepted),
                (events.RECORDING_REPEATED, lambda told: self._recordings.add((told["organisation"], "repeated"))),
                (events.RECORDING_REFUSED, self._recording_refused),
                (events.PUSH_ATTEMPTED, self._attempted),
                (events.PUSH_DELIVERED, self._delivered),
                (events.PUSH_GIVEN_UP, lambda told: self._ended.add((told["organisation"], "given_up"))),
                (events.WEBHOOK_ATTEMPTED, self._webhook_attempted),
                (events.WEB_REQUEST, self._requested),
                (events.WEB_CERTIFICATE, self._certified),
            )
        }

    def __call__(self, event: Event) -> None:
        """Hear of an event."""
        name = event.kind.name
        self._events.add((name,))
        listener = self._listeners.get(name)
        if listener is not None:
            listener(event.fields)

    def _stored(self, told: Fields) -> None:
        labels = told["organisation"], told["schema"], told["door"]
        whose = labels[:2]
        self._uploads.expect(whose)
        self._rows.expect(whose)
        self._rejected.expect(whose)
        self._received.add(labels)
        self._bytes.add(labels, told["bytes"])
        self._stages.add(("accept",), told["seconds"])
        self._took(told)

    def _completed(self, told: Fields) -> None:
        organisation, schema = _whose(told)
        self._uploads.add((organisation, schema, "completed"))
        self._rows.add((organisation, schema), told["rows"])
        self._rejected.add((organisation, schema), told["rejected"] or 0)
        self._took(told)

    def _failed(self, told: Fields) -> None:
        self._uploads.add((*_whose(told), "failed"))
        self._took(told)

    def _took(self, told: Fields) -> None:
        for stage, seconds in told.get("timings", {}).items():
            if stage in all_of.STAGES:
                self._stages.add((stage,), seconds)

    def _upload_refused(self, told: Fields) -> None:
        # Without the schema: it is what the client wrote.
        self._refused.add((told.get("organisation", ""), told.get("code", "")))

    def _logged_in(self, told: Fields) -> None:
        self._logins.add((told.get("door", "sftp"), "ok"))

    def _not_logged_in(self, told: Fields) -> None:
        self._logins.add((told.get("door", "sftp"), told.get("reason", OTHER)))

    def _not_signed_in(self, told: Fields) -> None:
        self._logins.add(("dashboard", "unknown" if told["reason"] == "unknown" else "secret"))

    def _session_refused(self, told: Fields) -> None:
        self._turned_away.add((told.get("door", "sftp"),))

    def _recording_accepted(self, told: Fields) -> None:
        whose = (told["organisation"],)
        self._attempts.expect(whose)
        self._ended.expect(whose)
        self._recordings.add((*whose, "accepted"))

    def _recording_refused(self, told: Fields) -> None:
        # What a manifest says of itself is only believed when it is accepted.
        self._recordings.add((OTHER, "refused"))

    def _attempted(self, told: Fields) -> None:
        organisation = told["organisation"]
        self._attempts.add((organisation, told["status"]))
        self._pushed.add((organisation,), told["bytes"])
        self._attempt_seconds.add((), told["seconds"])

    def _delivered(self, told: Fields) -> None:
        self._ended.add((told["organisation"], "delivered"))
        self._delivery_seconds.add((), told["seconds"])

    def _webhook_attempted(self, told: Fields) -> None:
        self._notices.add(("failed" if told["reason"] else "ok",))
        self._notice_seconds.add((), told["seconds"])

    def _requested(self, told: Fields) -> None:
        method = told["method"]
        route = told["route"]
        self._requests.add((route, method if method in self._methods else OTHER, str(told["status"])))
        self._request_seconds.add((route,), told["seconds"])
        self._request_bytes.add((), told["received"])

    def _certified(self, told: Fields) -> None:
        self.certificate_until = datetime.fromisoformat(told["until"]).timestamp()


def _whose(told: Fields) -> tuple[str, str]:
    return told.get("organisation", ""), told.get("schema", "")
