"""What an actor sees: of what is not its organisation's it is told that there is no such thing."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor
from conch_pipe.web.problems import Gone
from conch_pipe.web.request import Request

T = TypeVar("T")


def whose(actor: Actor, wanted: str | None) -> str | None:
    """The organisation to look at; None: all of them. :raises PipeError: NOT_FOUND, it does not see the wanted one."""
    if wanted is None:
        return actor.organisation
    return seen(actor, wanted, wanted, f"no organisation {wanted}")


def seen(actor: Actor, found: T | None, organisation: str, missing: str) -> T:
    """What was found.

    :param organisation: whose it is.
    :param missing: what is said when there is no such thing, also for the actor alone.
    :raises PipeError: NOT_FOUND.
    """
    if found is None or not actor.sees(organisation):
        raise PipeError(Code.NOT_FOUND, missing)
    return found


async def while_asked(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do something that takes a while, and stop it when nobody waits for it any more."""
    if request.gone:
        work.close()
        raise Gone("the connection was lost")
    doing = Deferred.fromCoroutine(work)
    request.notifyFinish().addErrback(lambda _: doing.cancel())
    return await doing
