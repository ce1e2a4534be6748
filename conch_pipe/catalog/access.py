"""Who may use the operations API and the dashboard, as the other rooms see it: tokens of programs, and people.

One object per aggregate over a database, as in catalog.py, which holds them. The queries are in tokens.py and
people.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from conch_pipe.catalog.aggregate import Aggregate
from conch_pipe.catalog.queries import people, tokens
from conch_pipe.interfaces import IPeople, ITokens
from conch_pipe.model import Actor, Person, Scope, Token


@implementer(ITokens)
class Tokens(Aggregate):
    """What programs show; the first method for the service, the others for operators."""

    def actor(self, text: str) -> Deferred[Actor | None]:
        """See :class:`ITokens`."""
        return Deferred.fromCoroutine(self._actor(text))

    async def _actor(self, text: str) -> Actor | None:
        now = self._now()
        token = await self._database.read(tokens.find, text, now)
        if token is None:
            return None
        if token.last_used_at is None or now - token.last_used_at >= tokens.USED_EVERY:
            await self._database.write(tokens.used, token.token_id, now)
        return tokens.actor(token)

    def create(
        self, name: str, scopes: Iterable[Scope], organisation: str | None = None, days: int = tokens.DAYS
    ) -> Deferred[tuple[Token, str]]:
        """A new token and its text, which is shown once.

        :param organisation: all that it sees; None: every one.
        :raises PipeError: INVALID for the name, no scope or the days; NOT_FOUND for the organisation.
        """
        text = tokens.new_text()
        created = self._database.write(tokens.create, text, name, frozenset(scopes), organisation, days, self._now())
        return created.addCallback(lambda token: (token, text))

    def revoke(self, token_id: str) -> Deferred[Token]:
        """For good; again keeps the first time. :raises PipeError: NOT_FOUND."""
        return self._database.write(tokens.revoke, token_id, self._now())

    def list(self, organisation: str | None = None) -> Deferred[tuple[Token, ...]]:
        """All of them, or those bound to an organisation, oldest first. :raises PipeError: NOT_FOUND."""
        return self._database.read(tokens.find_all, organisation)


@implementer(IPeople)
class People(Aggregate):
    """Who signs in; the first five methods for the service, the others for operators.

    :ivar cost: bcrypt's; hashing takes the calling thread about 250 ms.
    """

    cost = people.COST

    def password(self, name: str) -> Deferred[bytes | None]:
        """See :class:`IPeople`."""
        return self._database.read(people.password, name)

    def begin(self, name: str, hashed: bytes) -> Deferred[str]:
        """See :class:`IPeople`."""
        return self._database.write(people.begin, name, hashed, self._now())

    def session(self, text: str) -> Deferred[Actor | None]:
        """See :class:`IPeople`."""
        return Deferred.fromCoroutine(self._session(text))

    async def _session(self, text: str) -> Actor | None:
        now = self._now()
        found = await self._database.read(people.session, text, now)
        if found is None:
            return None
        actor, seen_at = found
        if now - seen_at >= people.SEEN_EVERY:
            await self._database.write(people.seen, text, now)
        return actor

    def end(self, text: str) -> Deferred[None]:
        """See :class:`IPeople`."""
        return self._database.write(people.end, text)

    def sweep(self) -> Deferred[int]:
        """See :class:`IPeople`."""
        return self._database.write(people.sweep, self._now())

    def create(self, name: str, password: str, organisation: str | None = None) -> Deferred[Person]:
        """A new person.

        :param organisation: of a member; None: an operator.
        :raises PipeError: INVALID for the name or the password; CONFLICT when the name is taken; NOT_FOUND for the
            organisation.
        """
        return Deferred.fromCoroutine(self._create(name, password, organisation))

    async def _create(self, name: str, password: str, organisation: str | None) -> Person:
        people.check_name(name)
        hashed = people.hash_password(name, password, self.cost)
        return await self._database.write(people.create, name, hashed, organisation, self._now())

    def get(self, name: str) -> Deferred[Person | None]:
        """One person."""
        return self._database.read(people.get, name)

    def list(self, organisation: str | None = None) -> Deferred[tuple[Person, ...]]:
        """All of them, or an organisation's members, by name. :raises PipeError: NOT_FOUND for the organisation."""
        return self._database.read(people.find_all, organisation)

    def set_password(self, name: str, password: str) -> Deferred[Person]:
        """All sessions end. :raises PipeError: INVALID; NOT_FOUND."""
        hashed = execute(people.hash_password, name, password, self.cost)
        return hashed.addCallback(lambda found: self._database.write(people.set_password, name, found))

    def disable(self, name: str) -> Deferred[Person]:
        """All sessions end; again keeps the first time. :raises PipeError: NOT_FOUND."""
        return self._database.write(people.disable, name, self._now())

    def enable(self, name: str) -> Deferred[Person]:
        """Again is no error. :raises PipeError: NOT_FOUND."""
        return self._database.write(people.enable, name)

    def remove(self, name: str) -> Deferred[None]:
        """With all sessions. :raises PipeError: NOT_FOUND."""
        return self._database.write(people.remove, name)
