"""``twistd pipe-sftp``: options, log and the service. Everything else is assembly's."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from conch_pipe import jsonlog
from conch_pipe.assembly import assemble
from conch_pipe.errors import Code, PipeError
from conch_pipe.gateway import Gateway
from conch_pipe.settings import Settings, load

REFUSED = 5  # exit status for settings and state that an operator must mend first, as conch-pipe has it


class Options(usage.Options):
    """What can be said on the command line; the rest is in the settings file."""

    synopsis = "[--config FILE]"
    longdesc = (
        "Runs the SFTP gateway. Any setting can also come from the environment as PIPE_SFTP_SECTION__NAME. "
        "`conch-pipe init DIR` makes a settings file and the state beside it."
    )
    optParameters = [["config", "c", None, "settings file (else $PIPE_SFTP_CONFIG, ./pipe-sftp.toml, …)"]]

    settings: Settings

    def postOptions(self) -> None:
        """Load the settings; every mistake is told before anything starts."""
        try:
            self.settings = load(self["config"])
        except PipeError as error:
            refuse(error)


class Main(MultiService):
    """The gateway under twistd: gives it the log that the settings ask for, and refuses to start in one line."""

    def __init__(self, gateway: Gateway, observer: jsonlog.LineLog | None) -> None:
        super().__init__()
        self.gateway = gateway
        self.observer = observer
        gateway.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """twistd takes the observer from its application after this, unless --logger was given."""
        if self.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """:raises SystemExit: an operator must mend something first; the reason is on stderr."""
        signal.signal(signal.SIGUSR2, self._replace)
        # What is here at the start stays: each full collection looked at all of it again, for up to 90 ms.
        self.gateway.reactor.callWhenRunning(gc.freeze)
        try:
            super().startService()
        except PipeError as error:
            refuse(error)

    def stopService(self) -> Any:
        """From here on a second SIGTERM or Ctrl-C means: do not wait for running uploads.

        Twisted's own handler would stop the reactor a second time, which is an error with a traceback.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hurry)
        return super().stopService()

    def _replace(self, number: int, frame: object) -> None:
        """SIGUSR2: fresh door processes, one after another."""
        self.gateway.reactor.callFromThread(self.gateway.replace_doors)

    def _hurry(self, number: int, frame: object) -> None:
        self.gateway.reactor.callFromThread(self.gateway.hurry)


def refuse(error: PipeError) -> NoReturn:
    """Say why the service cannot start, without a traceback."""
    sys.stderr.write(f"pipe-sftp cannot start: {error}\n")
    raise SystemExit(REFUSED) from None


def makeService(options: Options) -> IService:
    """Called by twistd."""
    from twisted.internet import reactor

    try:
        gateway = assemble(options.settings, reactor)
    except PipeError as error:
        refuse(error)
    observer = _observer(options.settings, options.parent or {})
    if observer is not None:
        gateway.log = observer.stream
    elif options.settings.service.processes > 1:
        refuse(PipeError(Code.INVALID, "service.processes: with --syslog there can be one process only"))
    return Main(gateway, observer)


def _observer(settings: Settings, twistd: Any) -> jsonlog.LineLog | None:
    """Where twistd's own options say the log goes; None for syslog, which has lines of its own."""
    if twistd.get("syslog"):
        return None
    logfile = twistd.get("logfile")
    # No rotation by size: logrotate and journald do it, and twistd reopens nothing we would notice.
    stream: Any = Path(logfile).open("a", encoding="utf-8") if logfile and logfile != "-" else sys.stdout  # noqa: SIM115
    process = os.getpid() if settings.service.processes > 1 else None
    return jsonlog.observer(stream, style=settings.log.format, level=settings.log.level, process=process)
