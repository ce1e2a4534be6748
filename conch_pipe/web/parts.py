"""What the views work on: the other rooms as they are seen from here, and what all requests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from conch_pipe.interfaces import (
    ICredentials,
    IEvents,
    IIntake,
    ILogin,
    IOperations,
    IPeople,
    ISignIns,
    ITokens,
    IUploads,
)
from conch_pipe.interfaces.health import IHealth, IMetrics
from conch_pipe.web.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Made by the assembly, taken by every table of routes.

    :ivar max_bytes: of a file.
    :ivar metrics_from: addresses and networks that read metrics without a token.
    :ivar sftp_port: tells where the other door listens, once it does.
    """

    intake: IIntake
    uploads: IUploads
    credentials: ICredentials
    login: ILogin
    operations: IOperations
    tokens: ITokens
    people: IPeople
    sign_ins: ISignIns
    events: IEvents
    clock: IReactorTime
    limits: Limits
    max_bytes: int
    health: IHealth
    metrics: IMetrics
    metrics_from: tuple[str, ...]
    sftp_port: Callable[[], int]
