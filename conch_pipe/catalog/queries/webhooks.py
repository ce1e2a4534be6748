"""Queries about webhooks, their signing secrets and the log of attempts. What they are told is in telling.py."""

from __future__ import annotations

import secrets as random
import string
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, insert, or_, select, update

from conch_pipe.catalog.engine import wiping
from conch_pipe.catalog.prepared import Prepared, addition
from conch_pipe.catalog.queries import environments, jobs, organisations
from conch_pipe.catalog.sealing import SIGNING, KeyFile
from conch_pipe.catalog.tables import jobs as jobs_table
from conch_pipe.catalog.tables import webhook_attempts, webhooks
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Answer, Happening, Job, Notice, Outcome, Shape, Webhook

KIND = "notify"  # of its jobs, whose subject is the message's id and whose lane is the webhook's
MOST = 20  # webhooks of one organisation: each of them is one more job for what happens
OVERLAP_S = 86_400.0  # that an old secret goes on signing beside the new one
GONE = "gone"  # why a webhook is disabled whose receiver said that it is
_AT_ONCE = 500  # messages in one statement
_LETTERS = string.ascii_lowercase + string.digits
_LISTENING = Prepared(
    select(webhooks.c.id, webhooks.c.environment, webhooks.c.events, webhooks.c.shape, webhooks.c.enabled)
    .where(webhooks.c.organisation == bindparam("organisation"))
    .order_by(webhooks.c.id)
)
_LOG = addition(webhook_attempts)


@dataclass(frozen=True, slots=True)
class NoticeFilter:
    """Which attempts an operator wants to see; None: any."""

    webhook: str | None = None
    organisation: str | None = None
    failed: bool = False  # only those that were not taken
    message: str | None = None
    limit: int = 100  # the newest so many
    before: tuple[datetime, int] | None = None  # begun before this one, which is on the page before; its id


def new_secret() -> str:
    """A signing secret: ``whsec_`` and 32 random bytes in base64, as the libraries of receivers take it."""
    return "whsec_" + b64encode(random.token_bytes(32)).decode()


def add(
    connection: Connection,
    organisation: str,
    url: str,
    events: Iterable[Happening],
    environment: str,
    shape: Shape,
    secret: str,
    keys: KeyFile | None,
    at: datetime,
) -> Webhook:
    """:param url: judged before.

    :raises PipeError: NOT_FOUND for the organisation or its environment; CONFLICT when it has too many; FAILED when
        there is no key to seal with.
    """
    organisations.existing(connection, organisation)
    if environment:
        environments.existing(connection, organisation, environment)
    query = select(func.count()).select_from(webhooks).where(webhooks.c.organisation == organisation)
    if connection.execute(query).scalar_one() >= MOST:
        raise PipeError(Code.CONFLICT, f"{organisation} has {MOST} webhooks, more are not taken")
    wanted = frozenset(events)
    webhook_id = "wh_" + "".join(random.choice(_LETTERS) for _ in range(20))
    connection.execute(
        insert(webhooks).values(
            id=webhook_id,
            organisation=organisation,
            environment=environment,
            url=url,
            events=[one.value for one in Happening if one in wanted],
            shape=shape.value,
            enabled=True,
            disabled_reason="",
            created_at=at,
            sealed=_seal(keys, webhook_id, secret),
        )
    )
    return existing(connection, webhook_id)


def get(connection: Connection, webhook_id: str) -> Webhook | None:
    """One webhook."""
    row = connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).one_or_none()
    return None if row is None else _webhook(row)


def existing(connection: Connection, webhook_id: str) -> Webhook:
    """:raises PipeError: NOT_FOUND."""
    found = get(connection, webhook_id)
    if found is None:
        raise PipeError(Code.NOT_FOUND, f"no webhook {webhook_id}")
    return found


def find_all(connection: Connection, organisation: str | None) -> tuple[Webhook, ...]:
    """All of them, or an organisation's, oldest first. :raises PipeError: NOT_FOUND for the organisation."""
    query = select(webhooks).order_by(webhooks.c.organisation, webhooks.c.created_at, webhooks.c.id)
    if organisation is not None:
        organisations.existing(connection, organisation)
        query = query.where(webhooks.c.organisation == organisation)
    return tuple(_webhook(row) for row in connection.execute(query))


def listening(connection: Connection, organisation: str, event: Happening) -> list[tuple[str, str, Shape]]:
    """Webhooks that are told of it: id, environment, shape. One look along an index, for nearly nothing without any."""
    found = _LISTENING.run(connection, {"organisation": organisation})
    return [
        (webhook_id, environment, Shape(shape))
        for webhook_id, environment, events, shape, enabled in found
        if enabled and event.value in events
    ]


def enable(connection: Connection, webhook_id: str, at: datetime) -> Webhook:
    """What waits for it is sent now. :raises PipeError: NOT_FOUND."""
    existing(connection, webhook_id)
    _change(connection, webhook_id, {"enabled": True, "disabled_reason": "", "changed_at": at})
    jobs.wake_lane(connection, KIND, webhook_id, at)
    return existing(connection, webhook_id)


def disable(connection: Connection, webhook_id: str, reason: str, at: datetime) -> Webhook:
    """It is told of nothing that happens from now on; again keeps the first reason. :raises PipeError: NOT_FOUND."""
    found = existing(connection, webhook_id)
    if found.enabled:
        _change(connection, webhook_id, {"enabled": False, "disabled_reason": reason, "changed_at": at})
    return existing(connection, webhook_id)


def remove(connection: Connection, webhook_id: str) -> int:
    """It is gone with its secret and its log; what waits for it is never sent.

    :returns: how many messages that were.
    :raises PipeError: NOT_FOUND.
    """
    existing(connection, webhook_id)
    told = select(webhook_attempts.c.message).where(webhook_attempts.c.webhook == webhook_id).distinct()
    messages = connection.execute(told).scalars().all()
    waits = connection.execute(delete(jobs_table).where(*_waiting(webhook_id))).rowcount
    _forget_messages(connection, messages)
    connection.execute(delete(webhook_attempts).where(webhook_attempts.c.webhook == webhook_id))
    with wiping(connection):
        connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))
    return waits


def waiting(connection: Connection, webhook_id: str) -> int:
    """How many messages have neither been taken nor given up."""
    query = select(func.count()).select_from(jobs_table).where(*_waiting(webhook_id))
    return connection.execute(query).scalar_one()


def signing(connection: Connection, webhook_id: str, keys: KeyFile | None, at: datetime) -> tuple[str, ...]:
    """The secrets that sign now, newest first. :raises PipeError: NOT_FOUND; FAILED, they cannot be unsealed."""
    row = _sealed(connection, webhook_id)
    found = [_unseal(keys, webhook_id, row.sealed)]
    if row.sealed_before is not None and row.before_until > at:
        found.append(_unseal(keys, webhook_id, row.sealed_before))
    return tuple(found)


def rotate(
    connection: Connection, webhook_id: str, secret: str, keys: KeyFile | None, at: datetime, overlap_s: float
) -> Webhook:
    """A new secret signs; the old one as well, for a while. :raises PipeError: NOT_FOUND; FAILED."""
    old = _sealed(connection, webhook_id).sealed if overlap_s > 0 else None
    with wiping(connection):
        values: dict[str, Any] = {"sealed": _seal(keys, webhook_id, secret), "sealed_before": old, "changed_at": at}
        values["before_until"] = at + timedelta(seconds=overlap_s) if old is not None else None
        _change(connection, webhook_id, values)
    return existing(connection, webhook_id)


def reseal_all(connection: Connection, keys: KeyFile | None) -> int:
    """Seal every signing secret with the first key.

    :returns: how many there are.
    :raises PipeError: FAILED when one of them cannot be unsealed; nothing is changed then.
    """
    rows = connection.execute(select(webhooks.c.id, webhooks.c.sealed, webhooks.c.sealed_before)).all()
    fresh = [(row.id, *(_resealed(keys, row.id, one) for one in (row.sealed, row.sealed_before))) for row in rows]
    with wiping(connection):
        for webhook_id, sealed, before in fresh:
            _change(connection, webhook_id, {"sealed": sealed, "sealed_before": before})
    return sum(1 if before is None else 2 for _, _, before in fresh)


def log(connection: Connection, notice: Notice) -> None:
    """Write an attempt down; nothing when the webhook is gone."""
    if get(connection, notice.webhook) is None:
        return
    answer = notice.answer
    _LOG.run(
        connection,
        {
            "webhook": notice.webhook,
            "message": notice.message,
            "event": notice.event,
            "number": notice.number,
            "began_at": notice.began_at,
            "status": answer.status,
            "reason": answer.reason,
            "detail": answer.detail,
            "body": answer.body,
            "seconds": answer.seconds,
            "next_at": notice.next_at,
            "shared": notice.shared,
        },
    )


def notices(connection: Connection, wanted: NoticeFilter) -> tuple[Notice, ...]:
    """The newest attempts that pass a filter, newest first."""
    query = select(webhook_attempts).order_by(webhook_attempts.c.began_at.desc(), webhook_attempts.c.id.desc())
    if wanted.webhook is not None:
        query = query.where(webhook_attempts.c.webhook == wanted.webhook)
    if wanted.organisation is not None:
        ours = select(webhooks.c.id).where(webhooks.c.organisation == wanted.organisation)
        query = query.where(webhook_attempts.c.webhook.in_(ours))
    if wanted.message is not None:
        query = query.where(webhook_attempts.c.message == wanted.message)
    if wanted.failed:
        query = query.where(webhook_attempts.c.reason != "")
    if wanted.before is not None:
        at, attempt_id = wanted.before
        began_at = webhook_attempts.c.began_at
        query = query.where(began_at <= at, or_(began_at < at, webhook_attempts.c.id < attempt_id))
    return tuple(_notice(row) for row in connection.execute(query.limit(wanted.limit)))


def settle(connection: Connection, job: Job, outcome: Outcome, at: datetime) -> None:
    """Write what an attempt came to; its job has just been settled, which is undone when this fails."""
    result = outcome.notice
    if result is None:
        return
    log(connection, result.notice)
    found = get(connection, job.lane)
    # Of what an operator has changed since the attempt began, it cannot speak.
    if result.disable and found and (found.changed_at is None or found.changed_at <= result.notice.began_at):
        disable(connection, found.id, result.disable, at)


def forget(connection: Connection, before: datetime, limit: int) -> int:
    """Delete attempts from before a time, and the messages they were at, if these have ended.

    :param limit: at most so many attempts.
    :returns: how many they were.
    """
    query = select(webhook_attempts.c.id, webhook_attempts.c.message).where(webhook_attempts.c.began_at < before)
    old = connection.execute(query.order_by(webhook_attempts.c.began_at).limit(limit)).all()
    if old:
        connection.execute(delete(webhook_attempts).where(webhook_attempts.c.id.in_([row.id for row in old])))
        _forget_messages(connection, list({row.message for row in old}))
    return len(old)


def _forget_messages(connection: Connection, messages: Sequence[str]) -> None:
    for start in range(0, len(messages), _AT_ONCE):
        jobs.remove(connection, KIND, messages[start : start + _AT_ONCE])


def _waiting(webhook_id: str) -> tuple[ColumnElement[bool], ...]:
    return jobs_table.c.ended_at.is_(None), jobs_table.c.kind == KIND, jobs_table.c.lane == webhook_id


def _change(connection: Connection, webhook_id: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(**values))


def _sealed(connection: Connection, webhook_id: str) -> Row:
    query = select(webhooks.c.sealed, webhooks.c.sealed_before, webhooks.c.before_until)
    row = connection.execute(query.where(webhooks.c.id == webhook_id)).one_or_none()
    if row is None:
        raise PipeError(Code.NOT_FOUND, f"no webhook {webhook_id}")
    return row


def _seal(keys: KeyFile | None, webhook_id: str, secret: str) -> bytes:
    return _open(keys).seal(f"webhook {webhook_id}", SIGNING, secret)


def _unseal(keys: KeyFile | None, webhook_id: str, sealed: bytes) -> str:
    return _open(keys).unseal(f"webhook {webhook_id}", SIGNING, sealed)


def _resealed(keys: KeyFile | None, webhook_id: str, sealed: bytes | None) -> bytes | None:
    return None if sealed is None else _seal(keys, webhook_id, _unseal(keys, webhook_id, sealed))


def _open(keys: KeyFile | None) -> KeyFile:
    if keys is None:
        raise PipeError(Code.FAILED, "the secrets of webhooks are not open to this process")
    return keys


def _webhook(row: Row) -> Webhook:
    return Webhook(
        row.id,
        row.organisation,
        row.url,
        tuple(Happening(one) for one in row.events),
        row.created_at,
        row.environment,
        Shape(row.shape),
        row.enabled,
        row.disabled_reason,
        row.changed_at,
    )


def _notice(row: Row) -> Notice:
    answer = Answer(row.status, row.reason, row.detail, row.body, row.seconds)
    return Notice(
        row.webhook,
        row.message,
        row.event,
        row.number,
        row.began_at,
        answer,
        row.next_at,
        bool(row.shared),
        row.id,
    )
