"""What partners log in with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from conch_pipe.catalog import Catalog
    from conch_pipe.model import Credential

PASSING = "passing: "  # begins the label of a credential with which a command visits the service
OVERLAP_DAYS, MOST_DAYS = 7.0, 366.0  # that the old secret goes on working
DAY_S = 86_400.0


class Credentials:
    """The catalog's, without those that are only lent to commands."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def list(self, organisation: str | None = None, *, passing: bool = False) -> tuple[Credential, ...]:
        """All of them, or an organisation's, oldest first.

        :param passing: also those for visits that are over: nobody can log in with them.
        :raises PipeError: NOT_FOUND for the organisation.
        """
        found = await self._catalog.credentials.list(organisation)
        return found if passing else tuple(one for one in found if _lasting(one))

    async def existing(self, client_id: str) -> Credential:
        """One of them, also a revoked one. :raises PipeError: NOT_FOUND."""
        found = await self._catalog.credentials.find(client_id)
        if found is None:
            raise PipeError(Code.NOT_FOUND, f"no credential {client_id}")
        return found

    def create(self, organisation: str, label: str = "") -> Deferred[tuple[Credential, str]]:
        """A new one and its secret, which is told this once. :raises PipeError: NOT_FOUND for the organisation."""
        return self._catalog.credentials.create(organisation, label)

    def rotate(self, client_id: str, overlap_days: float = OVERLAP_DAYS) -> Deferred[tuple[Credential, str]]:
        """A new secret, told this once; the old one goes on working for a while. At most two are alive.

        :param overlap_days: 0 to MOST_DAYS; 0 ends the old one now.
        :raises PipeError: NOT_FOUND; CONFLICT when it is revoked.
        """
        return self._catalog.credentials.rotate(client_id, overlap_days * DAY_S)

    def revoke(self, client_id: str) -> Deferred[Credential]:
        """For good: its tokens and open sessions end within seconds; again keeps the first time.

        :raises PipeError: NOT_FOUND.
        """
        return self._catalog.credentials.revoke(client_id)


def _lasting(one: Credential) -> bool:
    return (one.revoked_at is None and bool(one.secrets)) or not one.label.startswith(PASSING)
