"""All operations over what they work with: one attribute per aggregate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from conch_pipe.interfaces.operations import IOperations

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from conch_pipe.catalog import Catalog
    from conch_pipe.formats.schema import SchemaBook
    from conch_pipe.interfaces import IObjects, ISender
    from conch_pipe.remotes.session import Surroundings
    from conch_pipe.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What operations work with: a service has its own, a command makes them.

    :ivar clock: tells the time.
    :ivar in_thread: runs a function in a bounded thread pool; of a command, at once.
    :ivar schemas: the book of the folder, read when first asked for.
    :ivar objects: the store of raw copies.
    :ivar intake: what takes recordings.
    :ivar arrivals: the folders for files that come with their recording.
    :ivar around: what sessions with remotes need; likewise ``sender`` carries messages to webhooks. Of a command that
        connects to nobody, they cannot be used.
    """

    settings: Settings
    catalog: Catalog
    clock: IReactorTime
    in_thread: Callable[..., Deferred[Any]]
    schemas: Callable[[], SchemaBook]
    objects: Callable[[], IObjects]
    intake: Callable[[], Any]
    arrivals: Callable[[], Any]
    around: Callable[[], Surroundings]
    sender: Callable[[], ISender]


@implementer(IOperations)
@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """One attribute per aggregate; see IOperations."""

    organisations: Any
    credentials: Any
    uploads: Any
    schemas: Any
    environments: Any
    remotes: Any
    recordings: Any
    pushes: Any
    webhooks: Any
    figures: Any


def operations(means: Means) -> Operations:
    """All of them, over these means."""
    from conch_pipe.operations.credentials import Credentials
    from conch_pipe.operations.organisations import Organisations
    from conch_pipe.operations.pushes import Pushes
    from conch_pipe.operations.recordings import Recordings
    from conch_pipe.operations.remotes import Remotes
    from conch_pipe.operations.schemas import Schemas
    from conch_pipe.operations.uploads import Uploads
    from conch_pipe.operations.webhooks import Webhooks

    catalog = means.catalog
    schemas = Schemas(catalog, means.schemas, means.in_thread)
    return Operations(
        organisations=Organisations(catalog, schemas),
        credentials=Credentials(catalog),
        uploads=Uploads(catalog, means.objects, means.in_thread),
        schemas=schemas,
        environments=catalog.environments,
        figures=catalog.figures,
        remotes=Remotes(means),
        recordings=Recordings(catalog, means.intake, means.arrivals),
        pushes=Pushes(catalog, means),
        webhooks=Webhooks(means),
    )
