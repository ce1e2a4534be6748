"""What conch-pipe can do, as the HTTP side sees it."""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Attribute, Interface

# zope interfaces describe methods without self.
# mypy: disable-error-code="empty-body,misc"
# ruff: noqa: N805


class IOperations(Interface):
    """One attribute per aggregate. Implemented in ``operations``; its classes' docstrings are the contract.

    Methods return Deferreds or coroutines; what is wrong is a PipeError, several things at once are Mistakes. Who may
    ask for what, and which organisations it sees, is decided by the caller.
    """

    organisations = Attribute("Tenants and the schemas they may use.")
    credentials = Attribute("What partners log in with; a secret is answered once.")
    uploads = Attribute("Files received, their problems, their raw copies; to process one again.")
    schemas = Attribute("What files must look like, and samples.")
    environments = Attribute("To which remotes the recordings of an application go.")
    remotes = Attribute("Servers that recordings are pushed to: add, change, test, trust, enable, remove.")
    recordings = Attribute("Groups of files to deliver.")
    pushes = Attribute("Recordings on their way to remotes, and the log of the attempts.")
    webhooks = Attribute("Who is told over HTTP of what happens; a secret is answered once.")
    figures = Attribute("How much came, how long it took, what failed alike and what is late.")


class IPieces(Interface):
    """The content of a file on its way out. One reader, who closes it in any case."""

    size = Attribute("bytes of all of it")

    def read() -> Awaitable[bytes]:
        """The next of it, some 100 KB; empty: that was all.

        :raises PipeError: FAILED.
        """

    def close() -> None:
        """Nobody reads any more; not while a read is under way. Again is no error."""
