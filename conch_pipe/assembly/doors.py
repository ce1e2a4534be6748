"""What takes files and who may come: intake, logins, the SFTP and the HTTP door, made of settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from twisted.conch.ssh.keys import Key
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IStreamServerEndpoint

from conch_pipe.assembly.watching import Watching
from conch_pipe.catalog import Catalog
from conch_pipe.errors import Mistakes
from conch_pipe.events import Events
from conch_pipe.formats.quick import check_ends
from conch_pipe.intake.intake import Intake
from conch_pipe.intake.intake import Limits as IntakeLimits
from conch_pipe.intake.temporary_names import OFF, TemporaryNames
from conch_pipe.interfaces import ILogin, InThread, IObjects
from conch_pipe.login.core import Login
from conch_pipe.login.core import Rules as LoginRules
from conch_pipe.login.people import SignIns
from conch_pipe.login.secrets import HashThreads
from conch_pipe.operations.together import Operations
from conch_pipe.settings import Settings
from conch_pipe.sftp.service import Rules, SFTPService
from conch_pipe.ssh.interfaces import FileSystemStatus
from conch_pipe.ssh.limits import Limits as SSHLimits
from conch_pipe.ssh.server import hostkeys, offers
from conch_pipe.ssh.server.tally import OwnTally, Tally
from conch_pipe.ssh.transport.algorithms import SERVER
from conch_pipe.web.limits import Limits as WebLimits
from conch_pipe.web.parts import Parts
from conch_pipe.web.service import WebService

AROUND_A_FILE = 1 << 20  # bytes a request may have besides its file


def load_host_keys(settings: Settings) -> dict[Path, Key]:
    """:raises Mistakes: every key that cannot be used, and every preset that leaves nothing, with its reason."""
    keys, mistakes = hostkeys.load_all(settings.ssh.host_keys, settings.ssh.retiring_host_keys)
    chosen = [("ssh.algorithms", settings.ssh.algorithms)]
    chosen += [("ssh.algorithms_from", preset) for preset in settings.ssh.algorithms_from.values()]
    mistakes += offers.mistakes(list(keys.values()), chosen)
    if mistakes:
        raise Mistakes("host keys", mistakes)
    return keys


def intake(
    settings: Settings,
    folder: Path,
    objects: IObjects,
    catalog: Catalog,
    happenings: Events,
    clock: Any,
    in_thread: InThread,
    schemas: Any,
) -> Intake:
    uploads = settings.uploads
    return Intake(
        folder,
        objects,
        catalog.uploads,
        happenings,
        clock,
        in_thread,
        schemas,
        IntakeLimits(
            max_bytes=uploads.max_bytes,
            same_bytes_within_s=uploads.same_bytes_within_s,
            verdict_wait_s=uploads.wait_for_verdict_s,
            lag_bytes=settings.spool.lag_bytes,
            sync_bytes=settings.spool.sync_bytes,
            small_bytes=settings.spool.small_bytes,
            memory_bytes=settings.spool.memory_bytes,
            free_bytes=settings.disk.free_bytes,
            free_share=settings.disk.free_share,
            free_inodes_share=settings.disk.free_inodes_share,
            look_s=settings.disk.look_s,
        ),
        TemporaryNames(uploads.temporary_suffixes, uploads.temporary_prefixes) if uploads.temporary_names else OFF,
        check_ends if uploads.quick_checks else None,
    )


def login(
    settings: Settings,
    catalog: Catalog,
    happenings: Events,
    reactor: Any,
    say: Callable[..., None] | None = None,
    key: bytes | None = None,
) -> Login:
    limits = settings.limits
    rules = LoginRules(limits.failures_per_minute, limits.delay_s, limits.login_s)
    return Login(catalog.credentials, HashThreads(reactor), happenings, reactor, rules, say=say, key=key)


def sftp(
    settings: Settings,
    endpoint: IStreamServerEndpoint,
    intake: Intake,
    catalog: Catalog,
    happenings: Events,
    reactor: Any,
    login: ILogin,
    tally: Tally | None = None,
    say: Callable[..., None] | None = None,
) -> SFTPService:
    clock = reactor
    tally = tally or OwnTally()
    keys = load_host_keys(settings)
    return SFTPService(
        endpoint,
        list(keys.values()),
        intake=intake,
        uploads=catalog.uploads,
        credentials=catalog.credentials,
        events=happenings,
        clock=clock,
        login=login,
        disk=partial(_disk_numbers, settings),
        limits=SSHLimits(**settings.limits.ssh()),
        rules=Rules(
            connections_per_client=settings.limits.per_client,
            files_remembered=settings.limits.remembered,
            elsewhere_s=settings.uploads.stat_elsewhere_s,
            leftover_s=settings.uploads.leftover_s,
        ),
        door={
            "tally": tally,
            "seconds": monotonic,
            "penalty_exempt": settings.ssh.penalty_exempt,
            "proxy_from": settings.ssh.proxy_from,
            "algorithms": SERVER[settings.ssh.algorithms],
            "algorithms_from": offers.named(settings.ssh.algorithms_from),
            "retiring": [keys[path] for path in settings.ssh.retiring_host_keys],
        },
        say=say,
    )


def web(
    settings: Settings,
    intake: Intake,
    catalog: Catalog,
    happenings: Events,
    reactor: Any,
    login: Login,
    operations: Operations,
    watching: Watching,
    sftp: Any,
) -> WebService | None:
    """The HTTP door, of this process alone; None when there is to be none.

    :param sftp: the other door, wherever it runs; has a ``port``.
    """
    http = settings.http
    if not http.on:
        return None
    service = WebService(
        listening(reactor, http.endpoint, http.interface, http.port),
        Parts(
            intake=intake,
            uploads=catalog.uploads,
            credentials=catalog.credentials,
            login=login,
            operations=operations,
            tokens=catalog.tokens,
            people=catalog.people,
            sign_ins=SignIns(catalog.people, HashThreads(reactor), login.slowness, happenings, reactor),
            events=happenings,
            clock=reactor,
            limits=WebLimits(body_bytes=settings.uploads.max_bytes + AROUND_A_FILE, **http.web()),
            max_bytes=settings.uploads.max_bytes,
            health=watching.health,
            metrics=watching.metrics,
            metrics_from=http.metrics_from,
            sftp_port=lambda: sftp.port,
        ),
        key_file=http.token_key_file,
        token_s=http.token_s,
        forwarded_from=http.forwarded_from,
        certificate=(Path(http.certificate), Path(http.key)) if http.certificate else None,
    )
    watching.connections = lambda: service.connections
    return service


def listening(reactor: Any, endpoint: str, interface: str, port: int) -> IStreamServerEndpoint:
    if endpoint:
        return serverFromString(reactor, endpoint)
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return kind(reactor, port, backlog=512, interface=interface)


def _disk_numbers(settings: Settings) -> FileSystemStatus:
    """What statvfs@openssh.com tells of the spool's disk."""
    found = os.statvfs(settings.spool.folder)
    return FileSystemStatus(found.f_frsize, found.f_blocks, found.f_bavail, found.f_files, found.f_favail)
