"""One run of the command: its settings, and the rooms it opened, each when first asked for.

Prints nothing and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from conch_pipe.cli.output import Output
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from conch_pipe.catalog import Catalog, DirectDatabase
    from conch_pipe.formats.schema import SchemaBook
    from conch_pipe.intake.recordings import RecordingIntake
    from conch_pipe.interfaces import InThread, IObjects
    from conch_pipe.operations.together import Operations
    from conch_pipe.settings import Settings

T = TypeVar("T")


class SettingsRefused(Exception):
    """The settings cannot be used; ``error`` says why. Apart from other errors, for its exit code."""

    def __init__(self, error: PipeError) -> None:
        super().__init__(str(error))
        self.error = error


def now(asked: Deferred[T] | Coroutine[Any, Any, T]) -> T:
    """The result of a Deferred that has fired, as those of a DirectDatabase have; or of what waits for such only.

    :raises PipeError: what it failed with.
    """
    from twisted.internet.defer import ensureDeferred
    from twisted.python.failure import Failure

    results: list[Any] = []
    ensureDeferred(asked).addBoth(results.append)
    if not results:
        raise AssertionError("a Deferred of a direct database has not fired")
    if isinstance(results[0], Failure):
        results[0].raiseException()
    result: T = results[0]
    return result


class _Wall:
    """The time of day for records made by a program without a reactor."""

    def seconds(self) -> float:
        return time.time()


class _Unheard:
    """Where a command tells events: nobody counts them."""

    def note(self, kind: Any, **fields: Any) -> None:
        """See IEvents."""


def _none() -> Any:
    raise PipeError(Code.INVALID, "files come over a connection to the service only")


class Session:
    """See the module. ``config`` and ``out`` come from the command line.

    :ivar config: the settings file, or None to look for it.
    """

    def __init__(self) -> None:
        self.config: str | None = None
        self.out = Output()
        self._settings: Settings | None = None
        self._catalog: Catalog | None = None
        self._schemas: SchemaBook | None = None
        self._database: DirectDatabase | None = None

    @property
    def settings(self) -> Settings:
        """The settings, without looking whether their files are there: ``check`` does that.

        :raises SettingsRefused: they have mistakes, or there are none.
        """
        if self._settings is None:
            from conch_pipe.settings import load

            try:
                self._settings = load(self.config, places=False)
            except PipeError as error:
                raise SettingsRefused(error) from error
        return self._settings

    @property
    def catalog(self) -> Catalog:
        """The catalog, opened; its Deferreds have fired: see :func:`now`.

        :raises PipeError: NOT_FOUND when there is none yet: a look must not make one.
        """
        if self._catalog is None:
            from conch_pipe.settings import local_path

            path = local_path(self.settings.catalog.url)
            if path is not None and not path.exists():
                raise PipeError(Code.NOT_FOUND, f"there is no catalog {path}; conch-pipe init makes it")
            return self.open_catalog()
        return self._catalog

    def open_catalog(self) -> Catalog:
        """The catalog, made or brought up to date when needed; closed with the session."""
        from conch_pipe.catalog import Catalog, DirectDatabase, KeyFile

        self._database = DirectDatabase(self.settings.catalog.url, busy_timeout_s=self.settings.catalog.busy_s)
        self._database.open()
        wall: Any = _Wall()
        self._catalog = Catalog(self._database, wall, KeyFile(self.settings.secrets.key_file))
        return self._catalog

    @property
    def schemas(self) -> SchemaBook:
        """The schemas of the folder.

        :raises Mistakes: a schema file is wrong.
        """
        from conch_pipe.formats.schema import SchemaBook

        if self._schemas is None:
            book = SchemaBook(self.settings.schemas.folder)
            book.refresh()
            self._schemas = book
        return self._schemas

    @property
    def operations(self) -> Operations:
        """What can be done without connecting to anybody; see :func:`now`, and connecting.py for the rest.

        :raises PipeError: NOT_FOUND, there is no catalog yet.
        """
        from twisted.internet.defer import execute

        return self.operations_over(_Wall(), execute)

    def operations_over(self, reactor: Any, in_thread: InThread) -> Operations:
        """The same, with what connects and waits."""
        from conch_pipe.operations.together import Means, operations

        def connecting() -> Any:
            from conch_pipe.operations import connecting

            return connecting

        return operations(
            Means(
                settings=self.settings,
                catalog=self.catalog,
                clock=reactor,
                in_thread=in_thread,
                schemas=lambda: self.schemas,
                objects=lambda: self._objects(in_thread),
                intake=lambda: self._intake(reactor, in_thread),
                arrivals=_none,
                around=lambda: connecting().surroundings(self.settings, reactor, in_thread),
                sender=lambda: connecting().sender(self.settings, reactor),
            )
        )

    def _objects(self, in_thread: InThread) -> IObjects:
        from conch_pipe.assembly.stores import open_objects

        return open_objects(self.settings, in_thread)

    def _intake(self, reactor: Any, in_thread: InThread) -> RecordingIntake:
        """Of this process; the service hears of what it takes by its catalog."""
        from conch_pipe.intake.recordings import RecordingIntake

        push = self.settings.push
        unheard: Any = _Unheard()
        # Without a reactor nothing can wait: of an outcome that is unknown the operator is told, who may do it again.
        return RecordingIntake(
            self.catalog.recordings, (push.spool, *push.roots), in_thread, unheard, reactor, outcome_wait_s=0
        )

    def close(self) -> None:
        """Close what was opened."""
        if self._database is not None:
            now(self._database.close())
            self._database = self._catalog = None
