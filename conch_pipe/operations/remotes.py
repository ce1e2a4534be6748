"""Remotes: added, changed, tried, trusted, used or not, removed. Secrets go in and never come out.

Recordings are pushed to them elsewhere (see ``processing``); what is tried here is what a push would do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Pin, Remote, RemoteSecrets, utc

if TYPE_CHECKING:
    from conch_pipe.operations.remote_form import Filled
    from conch_pipe.operations.together import Means
    from conch_pipe.remotes.testing import Step


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that is wrong or dangerous with a remote.

    :ivar word: stable: any_host_key, no_host_key, host_key, credentials, disabled, address.
    :ivar words: a sentence, without what to do about it: that depends on where it is read.
    """

    word: str
    words: str


@dataclass(frozen=True, slots=True)
class Trial:
    """How a test went.

    :ivar host_key: blob of the key that was shown and is not trusted yet; nothing was sent to log in then.
    """

    remote: Remote
    steps: Sequence[Step]

    @property
    def well(self) -> bool:
        """Whether recordings could be pushed."""
        return all(step.level in ("ok", "warn") for step in self.steps)

    @property
    def host_key(self) -> bytes | None:
        """See the class."""
        return next((step.host_key for step in self.steps if step.host_key is not None), None)


class Remotes:
    """For operators."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._catalog = means.catalog.remotes
        self._under_test: set[str] = set()

    # Looking.

    def list(self, organisation: str | None = None) -> Awaitable[tuple[Remote, ...]]:
        """All of them, or an organisation's, by name. :raises PipeError: NOT_FOUND for the organisation."""
        return self._catalog.list(organisation)

    def get(self, name: str) -> Awaitable[Remote | None]:
        """One of them."""
        return self._catalog.get(name)

    async def existing(self, name: str) -> Remote:
        """:raises PipeError: NOT_FOUND."""
        found = await self._catalog.get(name)
        if found is None:
            raise PipeError(Code.NOT_FOUND, f"no remote {name}")
        return found

    def document(self, remote: Remote) -> dict[str, Any]:
        """Everything but its secrets, in plain values."""
        from conch_pipe.ssh.keys import algorithm, fingerprint

        return {
            "name": remote.name,
            "organisation": remote.organisation,
            "host": remote.host,
            "port": remote.port,
            "username": remote.username,
            "folder": remote.folder,
            "max_connections": remote.max_connections,
            "source_address": remote.source_address,
            "algorithms": remote.algorithms,
            "temporary_names": remote.temporary_names,
            "marker": remote.marker,
            "chunk_size": remote.chunk_size,
            "password": remote.has_password,
            "public_key": remote.public_key,
            "host_keys": [
                {
                    "type": algorithm(pin.blob),
                    "fingerprint": fingerprint(pin.blob),
                    "added_at": pin.added_at,
                    "origin": pin.origin,
                }
                for pin in remote.pins
            ],
            "any_host_key": remote.any_host_key,
            "enabled": remote.enabled,
            "disabled_reason": remote.disabled_reason,
            "disabled_at": remote.disabled_at,
            "refused_host_key": fingerprint(remote.refused_key) if remote.refused_key else None,
            "created_at": remote.created_at,
            "changed_at": remote.changed_at,
        }

    def concerns(self, remote: Remote) -> tuple[Concern, ...]:
        """What is wrong or dangerous."""
        found = []
        if remote.any_host_key:
            gets = "the password and the recordings" if remote.has_password else "the recordings"
            found.append(
                Concern("any_host_key", f"any host key is taken: whoever answers at {remote.host} gets {gets}")
            )
        elif not remote.pins:
            found.append(Concern("no_host_key", "no host key is trusted, so nothing is pushed"))
        if not remote.enabled and remote.disabled_reason == "host_key":
            found.append(Concern("host_key", "it showed another host key than the trusted one, so nothing is pushed"))
        elif remote.disabled_reason == "credentials":
            found.append(Concern("credentials", "it has no password and no key, so nothing is pushed"))
        elif not remote.enabled:
            found.append(Concern("disabled", "it is disabled, and attempts count all the same"))
        if (why := self._unreachable(remote)) is not None:
            setting = "push.networks_allowed"
            found.append(
                Concern("address", f"{remote.host} is {why}: nothing connects there unless {setting} has its network")
            )
        return tuple(found)

    def _unreachable(self, remote: Remote) -> str | None:
        """Why an address is none to connect to; of a name that is seen when it is resolved."""
        from conch_pipe.operations.connecting import networks
        from conch_pipe.remotes.addresses import refusal

        try:
            return refusal(IPv4Address(remote.host), networks(self._means.settings.push.networks_allowed))
        except ValueError:
            return None

    # Changing.

    async def fill(
        self, given: Mapping[str, Any], *, new: bool, mistakes: Sequence[str] = (), needed: bool = True
    ) -> Filled:
        """Judge what a program filled in.

        :param given: fields of ``model.Remote``, and password, private_key, passphrase, generate_key, host_keys (a
            list of texts), any_host_key (true or false). What is not there stays as it is; of password and
            private_key None takes away.
        :param mistakes: that are known already.
        :param needed: tell what is missing.
        :raises Mistakes: all of them; nothing that was filled in is repeated.
        """
        filled: Filled = await self._means.in_thread(_filled, given, new, mistakes, needed)
        return filled

    async def add(self, filled: Filled) -> Remote:
        """:raises PipeError: NOT_FOUND for the organisation; CONFLICT when the name is taken; FAILED, no key to seal
        with.
        """
        made = Remote(
            created_at=self._now(),
            pins=self._pins(filled) or (),
            any_host_key=bool(filled.any_host_key),
            public_key=filled.key.public_line(filled.fields["name"]) if filled.key else "",
            **filled.fields,
        )
        return await self._catalog.add(
            made, RemoteSecrets(filled.password, filled.key.openssh() if filled.key else None)
        )

    async def edit(self, name: str, filled: Filled) -> Remote:
        """Change what was filled in; host keys take the place of the old ones, also of any.

        :raises PipeError: NOT_FOUND; FAILED, no key to seal with; BUSY may also mean that only the wiping failed.
        """
        changed = await self.existing(name)
        changes = dict(filled.fields)
        if filled.key is not None:
            changes["public_key"] = filled.key.public_line(name)
        if filled.any_host_key is not None:
            changes["any_host_key"] = filled.any_host_key
        elif filled.host_keys:
            changes["any_host_key"] = False
        if changes or filled.secrets:
            changed = await self._catalog.edit(name, changes, filled.secrets)
        if (pins := self._pins(filled)) is not None:
            changed = await self._catalog.set_pins(name, pins)
        return changed

    async def generate_key(self, name: str, kind: str) -> tuple[Remote, str]:
        """A new key pair, whose private half is sealed; one that it had is replaced. It takes seconds.

        :param kind: of ``ssh.keys.KINDS``.
        :returns: with the fingerprint; the line for the customer is the remote's ``public_key``.
        :raises PipeError: NOT_FOUND; FAILED, no key to seal with.
        """
        from conch_pipe.ssh.keys import generate

        await self.existing(name)
        key = await self._means.in_thread(generate, kind)
        changes = {"public_key": key.public_line(name)}
        return await self._catalog.edit(name, changes, {"private_key": key.openssh()}), key.fingerprint

    def enable(self, name: str) -> Awaitable[Remote]:
        """Recordings that wait for it are tried at once. :raises PipeError: NOT_FOUND."""
        return self._catalog.enable(name)

    def disable(self, name: str) -> Awaitable[Remote]:
        """Attempts that fall due meanwhile count as failed. :raises PipeError: NOT_FOUND."""
        return self._catalog.disable(name)

    def remove(self, name: str) -> Awaitable[int]:
        """With its secrets and host keys.

        :returns: how many recordings that waited for it are given up.
        :raises PipeError: NOT_FOUND; BUSY may also mean that only the wiping failed.
        """
        return self._catalog.remove(name)

    # Connecting.

    async def test(self, name: str, *, within_s: float | None = None) -> Trial:
        """Try it step by step, with a small file. Cancelling closes the connection.

        A host key is shown and nothing is sent to log in, unless one is trusted: see ``learn``.

        :param within_s: for all steps together; each has limits of its own.

        :raises PipeError: NOT_FOUND; CONFLICT, it is being tested; FAILED, its secrets cannot be unsealed.
        """
        with self._alone(name):
            found = await self.existing(name)
            return Trial(found, await self._steps(found, await self._catalog.secrets(name), within_s))

    def learn(self, name: str, blob: bytes) -> Awaitable[Remote]:
        """Trust the first host key, which somebody has compared. :raises PipeError: NOT_FOUND."""
        return self._catalog.trust(name, blob, "learnt")

    async def host_key(
        self, name: str, wanted: str | None = None, *, within_s: float | None = None
    ) -> tuple[bytes | None, str]:
        """The key to trust: the one that disabled the remote; else the one it shows now, without logging in.

        :param wanted: fingerprint of the one that is wanted; it is asked for when it is not the one that disabled it.
        :param within_s: for the look.
        :returns: its blob, which need not be the wanted one; or None, and why none could be seen.
        :raises PipeError: NOT_FOUND; CONFLICT, it is being tested.
        """
        from conch_pipe.ssh.keys import fingerprint

        found = await self.existing(name)
        if found.refused_key is not None and wanted in (None, fingerprint(found.refused_key)):
            return found.refused_key, ""
        with self._alone(name):
            steps = await self._steps(replace(found, pins=(), any_host_key=False), RemoteSecrets(), within_s)
        words = next((step.words for step in steps if step.level == "fail"), "nothing was shown")
        return Trial(found, steps).host_key, f"no host key could be seen: {words}"

    def trusting(self, remote: Remote, blob: bytes, *, keep_old: bool) -> tuple[Pin, ...] | None:
        """What would be trusted after ``trust``; None: nothing would change."""
        kept = tuple(pin for pin in remote.pins if keep_old or pin.blob == blob)
        if blob not in [pin.blob for pin in kept]:
            return (*kept, Pin(blob, self._now(), "trusted"))
        if kept == remote.pins and not remote.any_host_key:
            return None
        return kept

    async def trust(self, name: str, blob: bytes, *, keep_old: bool = False) -> Remote:
        """Trust a host key that somebody has compared, in place of the old ones or with them; enables the remote, and
        recordings that wait for it are tried at once.

        :raises PipeError: NOT_FOUND; CONFLICT, it is trusted already.
        """
        from conch_pipe.ssh.keys import fingerprint

        found = await self.existing(name)
        pins = self.trusting(found, blob, keep_old=keep_old)
        if pins is None:
            raise PipeError(Code.CONFLICT, f"{fingerprint(blob)} is trusted already")
        if found.any_host_key:
            await self._catalog.edit(name, {"any_host_key": False})
        return await self._catalog.set_pins(name, pins)

    async def _steps(self, remote: Remote, secrets: RemoteSecrets, within_s: float | None) -> Sequence[Step]:
        from conch_pipe.remotes.testing import test

        return await test(self._means.around(), remote, secrets, within_s=within_s)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        if name in self._under_test:
            raise PipeError(Code.CONFLICT, f"remote {name} is being tested")
        self._under_test.add(name)
        try:
            yield
        finally:
            self._under_test.discard(name)

    def _pins(self, filled: Filled) -> tuple[Pin, ...] | None:
        if filled.host_keys is None:
            return None
        at = self._now()
        return tuple(Pin(blob, at, "given") for blob in filled.host_keys)

    def _now(self) -> Any:
        return utc(self._means.clock)


def _filled(given: Mapping[str, Any], new: bool, mistakes: Sequence[str], needed: bool) -> Filled:
    from conch_pipe.operations.remote_form import Form

    form = Form(new=new, mistakes=mistakes)
    form.fill({name: value for name, value in given.items() if name not in _APART}, needed=needed)
    text, kind, passphrase = given.get("private_key"), given.get("generate_key"), given.get("passphrase")
    if text is not None and kind is not None:
        form.mistakes.append("generate_key: and private_key exclude each other")
    elif text is not None:
        form.key(text, passphrase)
    elif kind is not None:
        form.generate(kind)
    elif passphrase is not None:
        form.mistakes.append("passphrase: there is no key that it could open")
    if not new:
        for name, what in (("password", "password"), ("private_key", "key")):
            if name in given and given[name] is None and not (what == "key" and kind is not None):
                form.without(what)
    if needed:
        form.needs_login()
    if given.get("host_keys") is not None:
        form.host_keys(())
        for number, one in enumerate(given["host_keys"]):
            form.host_key(one, called=f"host_keys.{number}")
    if given.get("any_host_key") is not None:
        form.any_host_key(given["any_host_key"])
    return form.filled("remote")


_APART = frozenset({"private_key", "passphrase", "generate_key", "host_keys", "any_host_key"})
