"""What connects to others, made of settings: the same rules whether a service or a command does it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, ip_network
from typing import Any

from conch_pipe.interfaces import InThread
from conch_pipe.remotes.sender import Sender
from conch_pipe.remotes.session import Surroundings
from conch_pipe.settings import Settings
from conch_pipe.ssh.client.limits import ClientLimits


def networks(allowed: Iterable[str]) -> tuple[IPv4Network, ...]:
    """Of a setting; what we connect to has no other addresses than IPv4."""
    return tuple(one for one in map(ip_network, allowed) if isinstance(one, IPv4Network))


def surroundings(settings: Settings, reactor: Any, in_thread: InThread) -> Surroundings:
    """What sessions with remotes need."""
    return Surroundings(
        reactor,
        in_thread,
        allowed=networks(settings.push.networks_allowed),
        limits=ClientLimits(
            connect_s=settings.push.connect_s,
            login_s=settings.push.login_s,
            request_s=settings.push.request_s,
            progress_s=settings.push.progress_s,
        ),
    )


def sender(settings: Settings, reactor: Any) -> Sender:
    """What carries messages to webhooks."""
    return Sender(reactor, networks(settings.webhooks.networks_allowed))
