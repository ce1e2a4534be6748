"""What goes out: the runners of pushes and of webhooks, made of settings."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any

from conch_pipe.catalog import Catalog
from conch_pipe.events import Events
from conch_pipe.interfaces import InThread
from conch_pipe.processing.lanes import Lanes
from conch_pipe.processing.notify import Lanes as NotifyLanes
from conch_pipe.processing.notify import NotifyChain
from conch_pipe.processing.push import PushChain
from conch_pipe.processing.retention import Retention
from conch_pipe.processing.runner import Runner
from conch_pipe.remotes.pusher import Pusher
from conch_pipe.remotes.sender import Sender
from conch_pipe.remotes.session import Surroundings
from conch_pipe.settings import Settings
from conch_pipe.ssh.client.limits import ClientLimits

QUIETLY = 16  # pushes besides those that are connected: whose remote is known not to answer, and files to delete
REQUESTS = 32  # to webhooks at a time
HURRY_S = 5.0  # that requests may take when the service stops; they are made again


def roots(settings: Settings) -> tuple[Path, ...]:
    """Where files of recordings may be."""
    return (settings.push.spool, *settings.push.roots)


def pushes(settings: Settings, catalog: Catalog, happenings: Events, reactor: Any, in_thread: InThread) -> Runner:
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
