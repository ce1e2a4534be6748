"""Settings become the running service: which implementation stands behind each interface, and in which order they live.

The only place that knows every room. Decides nothing about files, clients or jobs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from socket import AddressFamily
from time import monotonic
from typing import Any

from twisted.conch.ssh.keys import Key
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from conch_pipe import events
from conch_pipe.catalog import Catalog, Database, KeyFile
from conch_pipe.catalog.turn import Turn
from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.events import Events
from conch_pipe.formats.quick import check_ends
from conch_pipe.formats.schema import Schema, SchemaBook
from conch_pipe.gateway import Gateway, own_spool
from conch_pipe.intake.intake import Intake
from conch_pipe.intake.intake import Limits as IntakeLimits
from conch_pipe.intake.manifests import Manifests
from conch_pipe.intake.recordings import RecordingIntake
from conch_pipe.intake.temporary_names import OFF, TemporaryNames
from conch_pipe.interfaces import ILogin, IObjects, IWarehouse, IWorkers
from conch_pipe.login.core import Login
from conch_pipe.login.core import Rules as LoginRules
from conch_pipe.login.secrets import HashThreads
from conch_pipe.objects.folder import FolderObjects
from conch_pipe.presence import Presence
from conch_pipe.processes import counts
from conch_pipe.processes.door import Door
from conch_pipe.processes.doors import Doors
from conch_pipe.processes.share import COUNTS, SOCKET
from conch_pipe.processing.checks import CHECK_MANY
from conch_pipe.processing.ingest import stages
from conch_pipe.processing.lanes import Lanes
from conch_pipe.processing.notify import Lanes as NotifyLanes
from conch_pipe.processing.notify import NotifyChain
from conch_pipe.processing.push import PushChain
from conch_pipe.processing.retention import Retention
from conch_pipe.processing.runner import Runner
from conch_pipe.processing.service import Processing
from conch_pipe.processing.sweep import Sweep
from conch_pipe.processing.workers import WorkerLimits, Workers
from conch_pipe.progress import Progress
from conch_pipe.remotes.insecure import tell_insecure
from conch_pipe.remotes.pusher import Pusher
from conch_pipe.remotes.sender import Sender
from conch_pipe.remotes.session import Surroundings
from conch_pipe.settings import Settings, local_path
from conch_pipe.sftp.service import Rules, SFTPService
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.interfaces import FileSystemStatus
from conch_pipe.ssh.limits import Limits as SSHLimits
from conch_pipe.ssh.server import hostkeys, offers
from conch_pipe.ssh.server.tally import OwnTally, Tally
from conch_pipe.ssh.transport.algorithms import SERVER
from conch_pipe.warehouse.duckdb_file import DuckDBWarehouse
from conch_pipe.web.limits import Limits as WebLimits
from conch_pipe.web.service import WebService

InThread = Callable[..., Deferred[Any]]

DISK_THREADS = 4  # two keep one large upload hashed and synced; small files of several sessions gain from more
JOBS = 16  # at a time: those that are checked, and those that wait to be loaded in one call
FILE_THREADS = 4  # recordings that are hashed at a time, and looks at their files
AROUND_A_FILE = 1 << 20  # bytes a request may have besides its file
QUIETLY = 16  # pushes besides those that are connected: whose remote is known not to answer, and files to delete
REQUESTS = 32  # to webhooks at a time
HURRY_S = 5.0  # that requests may take when the service stops; they are made again
WORK_FOLDER = "work"  # in the state folder; nothing in it is worth keeping


def open_objects(settings: Settings, in_thread: InThread) -> IObjects:
    """The store behind ``objects.url``."""
    return FolderObjects(_local(settings.objects.url), in_thread)


def open_warehouse(settings: Settings, workers: IWorkers, clock: IReactorTime) -> IWarehouse:
    """The loader behind ``warehouse.url``."""
    return DuckDBWarehouse(workers, _local(settings.warehouse.url), clock, wall_s=settings.workers.wall_s)


def load_host_keys(settings: Settings) -> dict[Path, Key]:
    """:raises Mistakes: every key that cannot be used, and every preset that leaves nothing, with its reason."""
    keys, mistakes = hostkeys.load_all(settings.ssh.host_keys, settings.ssh.retiring_host_keys)
    chosen = [("ssh.algorithms", settings.ssh.algorithms)]
    chosen += [("ssh.algorithms_from", preset) for preset in settings.ssh.algorithms_from.values()]
    mistakes += offers.mistakes(list(keys.values()), chosen)
    if mistakes:
        raise Mistakes("host keys", mistakes)
    return keys


def _sealing(settings: Settings) -> KeyFile:
    """:raises PipeError: FAILED, the keys cannot be used. An installation without remotes may go without."""
    keys = KeyFile(settings.secrets.key_file)
    if keys.path.exists():
        keys.check()
    return keys


def assemble(settings: Settings, reactor: Any) -> Gateway:
    """Everything built and nothing started: no file, thread or socket is touched yet, but for the keys.

    :raises PipeError: what an operator must mend first.
    """
    clock = reactor
    happenings = Events()
    disk = ThreadPool(0, DISK_THREADS, "disk")
    in_thread = partial(deferToThreadPool, reactor, disk)
    database = _database(settings, reactor)
    catalog = Catalog(database, clock, _sealing(settings))
    schemas = SchemaBook(settings.schemas.folder)
    objects = open_objects(settings, in_thread)

    count = settings.workers.count or len(os.sched_getaffinity(0))
    limits = WorkerLimits(memory_bytes=settings.workers.memory_bytes, cpu_s=settings.workers.cpu_s)
    workers = Workers(reactor, count, limits, happenings, modules=[CHECK_MANY.partition(":")[0]])
    # Loads have a process of their own: DuckDB lets one process at a time hold the file.
    loaders = Workers(reactor, 1, limits, happenings, modules=["conch_pipe.warehouse.duckdb_loader"])
    warehouse = open_warehouse(settings, loaders, clock)

    intake = _intake(settings, settings.spool.folder, objects, catalog, happenings, clock, in_thread, schemas)
    work = settings.service.state / WORK_FOLDER
    chain = stages(
        objects,
        warehouse,
        workers,
        catalog.uploads,
        schemas,
        work,
        happenings,
        clock,
        settings.files.model_dump(),
        wall_s=settings.workers.wall_s,
        at_once=count,
        in_thread=in_thread,
    )
    runner = Runner(
        catalog.jobs,
        {"ingest": chain},
        clock,
        capacity=max(count + 2, JOBS),
        poll_s=settings.runner.poll_s,
        lease_s=settings.runner.lease_s,
        drain_s=settings.service.drain_s,
    )
    happenings.listeners.append(lambda event: runner.nudge() if event.kind is events.UPLOAD_STORED else None)
    sweep = Sweep(
        catalog.uploads,
        objects,
        work,
        clock,
        copies_days=settings.kept.copies_days,
        records_days=settings.kept.records_days,
        webhooks=catalog.webhooks,
    )
    files = ThreadPool(0, FILE_THREADS, "files")
    with_files = partial(deferToThreadPool, reactor, files)
    pushes = _pushes(settings, catalog, happenings, reactor, with_files)
    happenings.listeners.append(lambda event: pushes.nudge() if event.kind is events.RECORDING_ACCEPTED else None)
    happenings.listeners.append(progress := Progress(settings.service.state, clock))
    recordings = RecordingIntake(catalog.recordings, _roots(settings), with_files, happenings, clock)
    manifests = Manifests(settings.push.spool, recordings, with_files, happenings, clock, look_s=settings.push.look_s)
    endpoint = _listening(reactor, settings.ssh.endpoint, settings.ssh.interface, settings.ssh.port)
    login = _login(settings, catalog, happenings, reactor)
    sftp: SFTPService | Doors
    if settings.service.processes == 1:
        sftp = _sftp(settings, endpoint, intake, catalog, happenings, reactor, login)
    else:
        if settings.ssh.endpoint.startswith("haproxy:"):
            raise PipeError(Code.INVALID, "ssh.endpoint: with several processes, ssh.proxy_from instead of haproxy:")
        load_host_keys(settings)  # mistakes are told here; the doors have no one to tell them
        sftp = Doors(
            endpoint,
            reactor,
            happenings,
            count=settings.service.processes,
            document=lambda number, index: gateway.document(number, index),
            descriptors=lambda: gateway.descriptors(),
            tidy=lambda number, index: gateway.tidy(number, index),
            heard=lambda message: gateway.heard(message),
            linger_s=settings.service.linger_s,
            drain_s=settings.service.drain_s,
        )
    gateway = Gateway(
        settings,
        reactor,
        load_host_keys,
        events=happenings,
        presence=Presence(settings.service.state),
        disk=disk,
        files=files,
        database=database,
        schemas=schemas,
        intake=intake,
        jobs=catalog.jobs,
        loaders=loaders,
        processing=Processing(sweep, workers, runner, pushes, _notices(settings, catalog, happenings, reactor)),
        manifests=manifests,
        progress=progress,
        sftp=sftp,
        web=_web(settings, intake, catalog, happenings, reactor, login),
        tell_insecure=lambda: tell_insecure(catalog.remotes.list, happenings),
    )
    return gateway


def assemble_door(
    settings: Settings, reactor: Any, given: Mapping[str, Any], report: Callable[..., None], ended: Callable[[], None]
) -> Door:
    """What a door process does, built and not started.

    :param given: what the parent gave it; see Gateway.document.
    :raises PipeError: a host key cannot be used any more.
    """
    happenings = Events()
    disk = ThreadPool(0, DISK_THREADS, "disk")
    in_thread = partial(deferToThreadPool, reactor, disk)
    database = _database(settings, reactor)
    catalog = Catalog(database, reactor)
    schemas: dict[str, Schema] = {}
    folder = own_spool(settings, given["number"])
    objects = open_objects(settings, in_thread)
    intake = _intake(settings, folder, objects, catalog, happenings, reactor, in_thread, schemas)
    endpoint = AdoptedStreamServerEndpoint(reactor, SOCKET, AddressFamily(given["family"]))
    tally = counts.take(COUNTS, given["index"])
    key = bytes.fromhex(given["key"])
    login = _login(settings, catalog, happenings, reactor, report, key)
    sftp = _sftp(settings, endpoint, intake, catalog, happenings, reactor, login, tally, report)
    door = Door(
        reactor,
        schemas=schemas,
        database=database,
        disk=disk,
        intake=intake,
        sftp=sftp,
        drain_s=settings.service.drain_s,
        report=report,
        ended=ended,
    )
    happenings.listeners.append(lambda event: door.stored() if event.kind is events.UPLOAD_STORED else None)
    return door


def _database(settings: Settings, reactor: Any) -> Database:
    return Database(
        settings.catalog.url,
        reactor.callFromThread,
        busy_timeout_s=settings.catalog.busy_s,
        readers=2,
        turn=Turn(settings.service.state / "run" / "write") if settings.service.processes > 1 else None,
    )


def _roots(settings: Settings) -> tuple[Path, ...]:
    """Where files of recordings may be."""
    return (settings.push.spool, *settings.push.roots)


def _pushes(settings: Settings, catalog: Catalog, happenings: Events, reactor: Any, in_thread: InThread) -> Runner:
    """The runner of what goes out."""
    connections = settings.push.connections
    around = Surroundings(
        reactor,
        in_thread,
        allowed=_networks(settings.push.networks_allowed),
        limits=ClientLimits(
            connect_s=settings.push.connect_s,
            login_s=settings.push.login_s,
            request_s=settings.push.request_s,
            progress_s=settings.push.progress_s,
        ),
    )
    lanes = Lanes(reactor, connections)
    pusher = Pusher(around, catalog.remotes, settings.push.attempt_s)
    chain = PushChain(
        catalog.recordings,
        catalog.remotes,
        pusher,
        lanes,
        happenings,
        reactor,
        attempt_s=settings.push.attempt_s,
    )
    retention = Retention(catalog.recordings, happenings, reactor, _roots(settings), in_thread=in_thread)
    return Runner(
        catalog.jobs,
        {"push": chain, "retention": retention},
        reactor,
        capacity=connections + QUIETLY,
        poll_s=settings.runner.poll_s,
        lease_s=settings.runner.lease_s,
        drain_s=settings.service.drain_s,
        lanes=lanes,
    )


def _notices(settings: Settings, catalog: Catalog, happenings: Events, reactor: Any) -> Runner:
    """The runner of what webhooks are told. Nothing nudges it: it looks by itself, and uploads pay nothing for it."""
    lanes = NotifyLanes(reactor, REQUESTS)
    sender = Sender(reactor, _networks(settings.webhooks.networks_allowed))
    return Runner(
        catalog.jobs,
        {"notify": NotifyChain(catalog.webhooks, sender, lanes, happenings, reactor)},
        reactor,
        capacity=REQUESTS + QUIETLY,
        poll_s=settings.runner.poll_s,
        lease_s=settings.runner.lease_s,
        drain_s=min(HURRY_S, settings.service.drain_s),
        lanes=lanes,
    )


def _networks(allowed: Iterable[str]) -> list[IPv4Network]:
    """Of what is allowed; what we connect to has no other addresses."""
    return [network for network in map(ip_network, allowed) if isinstance(network, IPv4Network)]


def _intake(
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


def _sftp(
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


def _web(
    settings: Settings, intake: Intake, catalog: Catalog, happenings: Events, reactor: Any, login: ILogin
) -> WebService | None:
    """The HTTP door, of this process alone; None when there is to be none."""
    http = settings.http
    if not http.on:
        return None
    return WebService(
        _listening(reactor, http.endpoint, http.interface, http.port),
        intake=intake,
        uploads=catalog.uploads,
        credentials=catalog.credentials,
        login=login,
        events=happenings,
        clock=reactor,
        limits=WebLimits(body_bytes=settings.uploads.max_bytes + AROUND_A_FILE, **http.web()),
        key_file=http.token_key_file,
        token_s=http.token_s,
        max_bytes=settings.uploads.max_bytes,
        forwarded_from=http.forwarded_from,
        certificate=(Path(http.certificate), Path(http.key)) if http.certificate else None,
    )


def _login(
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


def _local(url: str) -> Any:
    path = local_path(url)
    if path is None:
        raise PipeError(Code.INVALID, f"no implementation for {url}")
    return path


def _listening(reactor: Any, endpoint: str, interface: str, port: int) -> IStreamServerEndpoint:
    if endpoint:
        return serverFromString(reactor, endpoint)
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return kind(reactor, port, backlog=512, interface=interface)


def _disk_numbers(settings: Settings) -> FileSystemStatus:
    """What statvfs@openssh.com tells of the spool's disk."""
    found = os.statvfs(settings.spool.folder)
    return FileSystemStatus(found.f_frsize, found.f_blocks, found.f_bavail, found.f_files, found.f_favail)
