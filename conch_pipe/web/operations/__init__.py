"""The operations API: what ``conch-pipe`` can do, for programs with an operator's token.

One module of views and one of documents per aggregate.
"""

from __future__ import annotations

from typing import Any

from conch_pipe.web.parts import Parts
from conch_pipe.web.routes import Route


def operations_api(parts: Parts, actors: Any) -> list[Route]:
    """Its routes.

    :param actors: tells who asks, see web/actors.py.
    """
    return []
