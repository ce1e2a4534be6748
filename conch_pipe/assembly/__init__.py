"""Settings become the running service: which implementation stands behind each interface, and in which order they live.

The only place that knows every room. Decides nothing about files, clients or jobs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from socket import AddressFamily
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from conch_pipe import events
from conch_pipe.assembly import doors, outgoing, stores
from conch_pipe.assembly.watching import Watching
from conch_pipe.catalog import Catalog
from conch_pipe.errors import Code, PipeError
from conch_pipe.events import Events
from conch_pipe.formats.schema import Schema, SchemaBook
from conch_pipe.gateway import Gateway, own_spool
from conch_pipe.intake.arrivals import Arrivals
from conch_pipe.intake.manifests import Manifests
from conch_pipe.intake.recordings import RecordingIntake
from conch_pipe.metrics.away import Away
from conch_pipe.operations.connecting import sender, surroundings
from conch_pipe.operations.together import Means, operations
from conch_pipe.presence import Presence
from conch_pipe.processes import counts
from conch_pipe.processes.door import Door
from conch_pipe.processes.doors import Doors
from conch_pipe.processes.share import COUNTS, SOCKET
from conch_pipe.processes.shared_port import SharedSocket
from conch_pipe.processing.checks import CHECK_MANY
from conch_pipe.processing.ingest import stages
from conch_pipe.processing.runner import Runner
from conch_pipe.processing.service import Processing
from conch_pipe.processing.sweep import Sweep
from conch_pipe.processing.workers import WorkerLimits, Workers
from conch_pipe.progress import Progress
from conch_pipe.remotes.insecure import tell_insecure
from conch_pipe.settings import Settings
from conch_pipe.sftp.service import SFTPService

DISK_THREADS = 4  # two keep one large upload hashed and synced; small files of several sessions gain from more
JOBS = 128  # at a time: those that are checked together, and those that wait to be loaded together
PACE_S = 0.25  # between claims in a storm of small files: what is claimed, checked and loaded together costs a fifth
FILE_THREADS = 4  # recordings that are hashed at a time, and looks at their files
WORK_FOLDER = "work"  # in the state folder; nothing in it is worth keeping


def assemble(settings: Settings, reactor: Any) -> Gateway:
    """Everything built and nothing started: no file, thread or socket is touched yet, but for the keys.

    :raises PipeError: what an operator must mend first.
    """
    clock = reactor
    happenings = Events()
    disk = ThreadPool(0, DISK_THREADS, "disk")
    in_thread = partial(deferToThreadPool, reactor, disk)
    database = stores.open_database(settings, reactor)
    catalog = Catalog(database, clock, stores.sealing(settings))
    schemas = SchemaBook(settings.schemas.folder)
    objects = stores.open_objects(settings, in_thread)

    count = settings.workers.count or len(os.sched_getaffinity(0))
    limits = WorkerLimits(memory_bytes=settings.workers.memory_bytes, cpu_s=settings.workers.cpu_s)
    workers = Workers(reactor, count, limits, happenings, modules=[CHECK_MANY.partition(":")[0]])
    # Loads have a process of their own: DuckDB lets one process at a time hold the file.
    loaders = Workers(reactor, 1, limits, happenings, modules=["conch_pipe.warehouse.duckdb_loader"])
    warehouse = stores.open_warehouse(settings, loaders, clock)

    intake = doors.intake(settings, settings.spool.folder, objects, catalog, happenings, clock, in_thread, schemas)
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
        pace_s=PACE_S,
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
        people=catalog.people,
    )
    files = ThreadPool(0, FILE_THREADS, "files")
    with_files = partial(deferToThreadPool, reactor, files)
    pushes = outgoing.pushes(settings, catalog, happenings, reactor, with_files)
    happenings.listeners.append(lambda event: pushes.nudge() if event.kind is events.RECORDING_ACCEPTED else None)
    happenings.listeners.append(progress := Progress(settings.service.state, clock))
    recordings = RecordingIntake(catalog.recordings, outgoing.roots(settings), with_files, happenings, clock)
    manifests = Manifests(settings.push.spool, recordings, with_files, happenings, clock, look_s=settings.push.look_s)
    arrivals = Arrivals(settings.push.spool, recordings, with_files, clock, free_bytes=settings.disk.free_bytes)
    endpoint = doors.listening(reactor, settings.ssh.endpoint, settings.ssh.interface, settings.ssh.port)
    key = os.urandom(32)  # the names of accounts, as processes tell them to each other
    sftp: SFTPService | Doors
    if settings.service.processes == 1:
        login = doors.login(settings, catalog, happenings, reactor, key=key)
        sftp = doors.sftp(settings, endpoint, intake, catalog, happenings, reactor, login)
    else:
        if settings.ssh.endpoint.startswith("haproxy:"):
            raise PipeError(Code.INVALID, "ssh.endpoint: with several processes, ssh.proxy_from instead of haproxy:")
        doors.load_host_keys(settings)  # mistakes are told here; the doors have no one to tell them
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
        login = doors.login(settings, catalog, happenings, reactor, say=sftp.tell, key=key)
    watching = Watching(
        settings, happenings, catalog, reactor, intake=intake, workers=workers, loaders=loaders, sftp=sftp
    )
    means = Means(
        settings=settings,
        catalog=catalog,
        clock=clock,
        in_thread=with_files,
        schemas=lambda: schemas,
        objects=lambda: objects,
        intake=lambda: recordings,
        arrivals=lambda: arrivals,
        around=lambda: surroundings(settings, reactor, with_files),
        sender=lambda: sender(settings, reactor),
    )
    gateway = Gateway(
        settings,
        reactor,
        doors.load_host_keys,
        events=happenings,
        presence=Presence(settings.service.state),
        disk=disk,
        files=files,
        database=database,
        schemas=schemas,
        intake=intake,
        jobs=catalog.jobs,
        loaders=loaders,
        processing=Processing(sweep, workers, runner, pushes, outgoing.notices(settings, catalog, happenings, reactor)),
        manifests=manifests,
        arrivals=arrivals,
        progress=progress,
        sftp=sftp,
        login=login,
        key=key,
        web=doors.web(settings, intake, catalog, happenings, reactor, login, operations(means), watching, sftp),
        tell_insecure=lambda: tell_insecure(catalog.remotes.list, happenings),
        counted=watching.tally.merge,
        lag=watching.lag,
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
    database = stores.open_database(settings, reactor)
    catalog = Catalog(database, reactor)
    schemas: dict[str, Schema] = {}
    folder = own_spool(settings, given["number"])
    objects = stores.open_objects(settings, in_thread)
    intake = doors.intake(settings, folder, objects, catalog, happenings, reactor, in_thread, schemas)
    tally = counts.take(COUNTS, given["index"])
    endpoint = SharedSocket(reactor, SOCKET, AddressFamily(given["family"]), tally)
    key = bytes.fromhex(given["key"])
    login = doors.login(settings, catalog, happenings, reactor, report, key)
    sftp = doors.sftp(settings, endpoint, intake, catalog, happenings, reactor, login, tally, report)
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
        counts=Away(happenings, reactor),
    )
    happenings.listeners.append(lambda event: door.stored() if event.kind is events.UPLOAD_STORED else None)
    return door
