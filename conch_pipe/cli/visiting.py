"""Sending a sample through the running service as a partner would, and waiting for its verdict.

With a secret that is made for the visit and ends with it; the credential stays, one for each organisation and command.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from conch_pipe.cli import service
from conch_pipe.cli.installation import Login
from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, PipeError
from conch_pipe.operations.credentials import PASSING

if TYPE_CHECKING:
    from conch_pipe.cli.partner import Seen
    from conch_pipe.model import Upload

LOOK_S = 0.1
_HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@dataclass(frozen=True, slots=True)
class Sent:
    """A sample that was put."""

    seen: Seen
    name: str
    upload: Upload | None  # None: it was refused


@contextmanager
def passing_credential(session: Session, organisation: str, what: str) -> Iterator[Login]:
    """A login that works until the end of the visit.

    :param what: the command, for the credential's label.
    :raises PipeError: BUSY when there is no running service to visit; nothing was made then.
    """
    service.needed(session.settings.service.state)
    lent, secret = now(session.catalog.credentials.lend(organisation, PASSING + what))
    try:
        yield Login(organisation, lent.client_id, secret)
    finally:
        now(session.catalog.credentials.give_back(lent.client_id, lent.secrets[0]))


def send(session: Session, login: Login, schema: str, data: bytes, *, within_s: float) -> Sent:
    """Put a file and wait until its upload is COMPLETED or FAILED.

    :param within_s: seconds to wait for the verdict.
    :raises PipeError: BUSY when the service does not run; FAILED when the visit came to nothing or no verdict came.
    """
    from conch_pipe.cli import partner
    from conch_pipe.ssh.server.hostkeys import HostKeyError, fingerprint, load

    settings = session.settings
    found = service.needed(settings.service.state)
    try:
        fingerprints = {fingerprint(load(path)) for path in settings.ssh.host_keys}
    except HostKeyError as error:
        raise PipeError(Code.FAILED, str(error)) from error
    name = f"sample-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.csv"
    host = _HERE.get(settings.ssh.interface, settings.ssh.interface)
    secret = login.client_secret or ""
    seen = partner.run(partner.Visit(host, found.ssh_port, login.client_id, secret, fingerprints, schema, name, data))
    return Sent(seen, name, None if seen.answer else _verdict(session, login, schema, name, within_s))


def _verdict(session: Session, login: Login, schema: str, name: str, within_s: float) -> Upload:
    from conch_pipe.model import State

    end = time.monotonic() + within_s
    long_ago = datetime.fromtimestamp(0, UTC)
    while True:
        upload = now(session.catalog.uploads.latest(login.client_id, schema, name, long_ago))
        if upload is None:
            raise PipeError(Code.FAILED, f"the service took {name} and there is no record of it")
        if upload.state in (State.COMPLETED, State.FAILED):
            return upload
        if time.monotonic() > end:
            raise PipeError(Code.FAILED, f"upload {upload.id} is still {upload.state.value} after {within_s:.0f} s")
        time.sleep(LOOK_S)
