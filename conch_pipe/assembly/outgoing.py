"""What goes out: the runners of pushes and of webhooks, made of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conch_pipe.catalog import Catalog
from conch_pipe.events import Events
from conch_pipe.interfaces import InThread
from conch_pipe.operations.connecting import sender, surroundings
from conch_pipe.processing.lanes import Lanes
from conch_pipe.processing.notify import Lanes as NotifyLanes
from conch_pipe.processing.notify import NotifyChain
from conch_pipe.processing.push import PushChain
from conch_pipe.processing.retention import Retention
from conch_pipe.processing.runner import Runner
from conch_pipe.remotes.pusher import Pusher
from conch_pipe.settings import Settings

QUIETLY = 16  # pushes besides those that are connected: whose remote is known not to answer, and files to delete
REQUESTS = 32  # to webhooks at a time
HURRY_S = 5.0  # that requests may take when the service stops; they are made again


def roots(settings: Settings) -> tuple[Path, ...]:
    """Where files of recordings may be."""
    return (settings.push.spool, *settings.push.roots)


def pushes(settings: Settings, catalog: Catalog, happenings: Events, reactor: Any, in_thread: InThread) -> Runner:
    """The runner of what goes out."""
    connections = settings.push.connections
    around = surroundings(settings, reactor, in_thread)
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
    retention = Retention(catalog.recordings, happenings, reactor, roots(settings), in_thread=in_thread)
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


def notices(settings: Settings, catalog: Catalog, happenings: Events, reactor: Any) -> Runner:
    """The runner of what webhooks are told. Nothing nudges it: it looks by itself, and uploads pay nothing for it."""
    lanes = NotifyLanes(reactor, REQUESTS)
    return Runner(
        catalog.jobs,
        {"notify": NotifyChain(catalog.webhooks, sender(settings, reactor), lanes, happenings, reactor)},
        reactor,
        capacity=REQUESTS + QUIETLY,
        poll_s=settings.runner.poll_s,
        lease_s=settings.runner.lease_s,
        drain_s=min(HURRY_S, settings.service.drain_s),
        lanes=lanes,
    )
