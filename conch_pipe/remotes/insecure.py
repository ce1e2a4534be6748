"""A warning at each start for every remote that takes whatever host key it is shown. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from conch_pipe import events
from conch_pipe.errors import PipeError
from conch_pipe.events import Events
from conch_pipe.model import Remote

_log = Logger(namespace="conch_pipe")


async def tell_insecure(remotes: Callable[[], Deferred[tuple[Remote, ...]]], happenings: Events) -> None:
    """Note one event for each; a catalog that cannot tell now keeps nobody from starting.

    :param remotes: gives all of them.
    """
    try:
        known = await remotes()
    except PipeError as error:
        _log.warn("whether remotes take any host key cannot be told: {error}", error=error)
        return
    for one in known:
        if one.any_host_key:
            happenings.note(
                events.REMOTE_INSECURE, remote=one.name, organisation=one.organisation, host=one.host, port=one.port
            )
