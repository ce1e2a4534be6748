"""The operations API: what ``conch-pipe`` can do, for programs with an operator's token.

One module of views and one of documents per aggregate.
"""

from __future__ import annotations

from conch_pipe.web.actors import Actors
from conch_pipe.web.operations.environments import environment_routes
from conch_pipe.web.operations.pushes import push_routes
from conch_pipe.web.operations.recordings import recording_routes
from conch_pipe.web.operations.remotes import remote_routes
from conch_pipe.web.operations.schemas import schema_routes
from conch_pipe.web.operations.tenants import tenant_routes
from conch_pipe.web.operations.uploads import upload_routes
from conch_pipe.web.operations.webhooks import webhook_routes
from conch_pipe.web.parts import Parts
from conch_pipe.web.routes import Route


def operations_api(parts: Parts, actors: Actors) -> list[Route]:
    """Its routes.

    :param actors: tells who asks, see web/actors.py.
    """
    return [
        *tenant_routes(parts, actors),
        *schema_routes(parts, actors),
        *upload_routes(parts, actors),
        *remote_routes(parts, actors),
        *environment_routes(parts, actors),
        *recording_routes(parts, actors),
        *push_routes(parts, actors),
        *webhook_routes(parts, actors),
    ]
