"""Remotes: how each stands, which host keys are trusted, and to try, change, use or remove them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.model import Actor, Remote, Scope
from conch_pipe.ssh.keys import algorithm, fingerprint
from conch_pipe.web.dashboard import lists, remote_fields
from conch_pipe.web.dashboard.forms import Filled
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

TEST_S, LOOK_S = 45.0, 30.0  # that somebody waits for a page; proxies often wait 60
ADD = "/remotes/+add"  # no name begins so


def remotes(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    views = _Remotes(pages, parts)
    one = "/remotes/<name>"
    return [
        pages.get("/remotes", views.page),
        pages.get(ADD, views.new, Scope.REMOTES),
        pages.post(ADD, views.add, Scope.REMOTES),
        pages.get(one, views.one),
        pages.get(f"{one}/edit", views.edit, Scope.REMOTES),
        pages.post(f"{one}/edit", views.change, Scope.REMOTES),
        pages.post(f"{one}/test", views.test, Scope.REMOTES),
        pages.post(f"{one}/trust", views.trust, Scope.REMOTES),
        pages.post(f"{one}/enable", views.enable, Scope.REMOTES),
        pages.post(f"{one}/disable", views.disable, Scope.REMOTES),
        pages.post(f"{one}/key", views.key, Scope.REMOTES),
        pages.get(f"{one}/remove", views.removing, Scope.REMOTES),
        pages.post(f"{one}/remove", views.remove, Scope.REMOTES),
    ]


@dataclass(frozen=True, slots=True)
class Tried:
    """The last test of a remote, as this service remembers it.

    :ivar trial: an operations.remotes.Trial; None: only a key was seen.
    :ivar host_key: blob of the key that was shown and is not trusted.
    """

    at: datetime
    by: str
    trial: Any
    host_key: bytes | None


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host key as people compare it.

    :ivar groups: four characters each, and whether they are others than those of the key beside it.
    """

    type: str
    fingerprint: str
    groups: tuple[tuple[str, bool], ...]
    added_at: datetime | None = None
    origin: str = ""


class _Remotes:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations = parts.operations
        self._tried: dict[str, Tried] = {}

    # Looking.

    async def page(self, request: Request, actor: Actor) -> Response:
        organisation = lists.whose(actor, request)
        found = [one for one in await self._operations.remotes.list() if organisation in (None, one.organisation)]
        return self._pages.render(
            request,
            "remotes.html",
            actor,
            rows=[(one, self._operations.remotes.concerns(one)) for one in found],
            organisations=await lists.organisations(self._operations, actor),
        )

    async def one(self, request: Request, actor: Actor, name: str) -> Response:
        remote = await self._existing(actor, name)
        tried = self._tried.get(name)
        shown = (tried.host_key if tried else None) or remote.refused_key
        known = [pin.blob for pin in remote.pins]
        shown = None if shown in known and not remote.any_host_key else shown
        environments = await self._operations.environments.list(remote.organisation)
        return self._pages.render(
            request,
            "remote.html",
            actor,
            remote=remote,
            concerns=self._operations.remotes.concerns(remote),
            environments=[one.name for one in environments if name in one.remotes],
            pins=[_key(pin.blob, shown, pin.added_at, pin.origin) for pin in remote.pins],
            shown=_key(shown, known[-1] if known else None) if shown else None,
            tried=tried,
            kinds=remote_fields.KEYS,
        )

    # The form.

    async def new(self, request: Request, actor: Actor) -> Response:
        values = remote_fields.values(None) | {"organisation": lists.given(request, "organisation") or ""}
        return await self._form(request, actor, None, values)

    async def edit(self, request: Request, actor: Actor, name: str) -> Response:
        remote = await self._existing(actor, name)
        return await self._form(request, actor, remote, remote_fields.values(remote))

    async def add(self, request: Request, actor: Actor, form: Filled) -> Response:
        try:
            filled = await self._judged(actor, form, None)
            made = await self._operations.remotes.add(filled)
        except PipeError as error:
            return await self._again(request, actor, None, form, error)
        say = f"Remote {made.name} is added."
        if not made.pins and not made.any_host_key:
            say += " Test it now: its host key is shown, to be compared and trusted."
        return self._pages.after(request, f"/remotes/{made.name}", say)

    async def change(self, request: Request, actor: Actor, form: Filled, name: str) -> Response:
        remote = await self._existing(actor, name)
        try:
            changed = await self._operations.remotes.edit(name, await self._judged(actor, form, remote))
        except PipeError as error:
            return await self._again(request, actor, remote, form, error)
        self._tried.pop(name, None)
        say = f"Remote {name} is changed; recordings that wait for it are tried at once."
        if (changed.host, changed.port) != (remote.host, remote.port) and changed.pins == remote.pins and changed.pins:
            say = f"Remote {name} is changed. The trusted host keys are those of {remote.host}: test it."
        return self._pages.after(request, f"/remotes/{name}", say)

    async def _judged(self, actor: Actor, form: Filled, remote: Remote | None) -> Any:
        given = remote_fields.taken(form, remote)
        return await self._operations.remotes.fill(given, new=remote is None, mistakes=remote_fields.doubts(form))

    async def _again(
        self, request: Request, actor: Actor, remote: Remote | None, form: Filled, error: PipeError
    ) -> Response:
        if error.code not in (Code.INVALID, Code.NOT_FOUND, Code.CONFLICT):
            raise error
        mistakes = error.mistakes if isinstance(error, Mistakes) else [error.message]
        return await self._form(request, actor, remote, remote_fields.repeated(form), mistakes)

    async def _form(
        self,
        request: Request,
        actor: Actor,
        remote: Remote | None,
        values: dict[str, str],
        mistakes: Sequence[str] = (),
    ) -> Response:
        return self._pages.render(
            request,
            "remote_form.html",
            actor,
            status=400 if mistakes else 200,
            remote=remote,
            values=values,
            mistakes=mistakes,
            wrong=remote_fields.placed(mistakes, remote_fields.FIELDS),
            organisations=await lists.organisations(self._operations, actor),
            presets=remote_fields.PRESETS,
            kinds=remote_fields.KEYS,
        )

    # Connecting.

    async def test(self, request: Request, actor: Actor, form: Filled, name: str) -> Response:
        await self._existing(actor, name)
        back = f"/remotes/{name}"
        try:
            trial = await self._operations.remotes.test(name, within_s=TEST_S)
        except PipeError as error:
            return self._refused(request, back, error)
        self._tried[name] = Tried(self._pages.now, actor.name, trial, trial.host_key)
        if trial.well:
            return self._pages.after(request, f"{back}#test", f"The test of {name} went well.")
        if trial.host_key is not None:
            say = "Nothing was sent to log in: compare the host key that it shows, and trust it if it is the right one."
            return self._pages.after(request, f"{back}#keys", say, good=False)
        return self._pages.after(request, f"{back}#test", f"The test of {name} did not go well.", good=False)

    async def trust(self, request: Request, actor: Actor, form: Filled, name: str) -> Response:
        """The key that was looked at, and no other."""
        await self._existing(actor, name)
        back = f"/remotes/{name}#keys"
        wanted = form.get("fingerprint")
        if not form.has("compared") or not wanted:
            say = "Nothing is trusted: first compare the key with what its owner says, and tick that you did."
            return self._pages.after(request, back, say, good=False)
        try:
            blob, words = await self._operations.remotes.host_key(name, wanted, within_s=LOOK_S)
            if blob is None:
                return self._pages.after(request, back, f"Nothing is trusted: {words}.", good=False)
            if fingerprint(blob) != wanted:
                self._tried[name] = Tried(self._pages.now, actor.name, None, blob)
                say = "Nothing is trusted: it shows another key by now than the one you looked at. Compare again."
                return self._pages.after(request, back, say, good=False)
            changed = await self._operations.remotes.trust(name, blob, keep_old=form.has("keep_old"))
        except PipeError as error:
            return self._refused(request, back, error)
        self._tried.pop(name, None)
        say = f"The host key of {name} is trusted. Recordings that wait for it are tried at once."
        return self._pages.after(request, f"/remotes/{changed.name}", say)

    # Using it, or not.

    async def enable(self, request: Request, actor: Actor, form: Filled, name: str) -> Response:
        await self._existing(actor, name)
        await self._operations.remotes.enable(name)
        say = f"Remote {name} is enabled; recordings that wait for it are tried at once."
        return self._pages.after(request, f"/remotes/{name}", say)

    async def disable(self, request: Request, actor: Actor, form: Filled, name: str) -> Response:
        await self._existing(actor, name)
        await self._operations.remotes.disable(name)
        return self._pages.after(request, f"/remotes/{name}", f"Remote {name} is disabled: nothing connects to it.")

    async def key(self, request: Request, actor: Actor, form: Filled, name: str) -> Response:
        remote = await self._existing(actor, name)
        back, kind = f"/remotes/{name}#login", form.get("kind")
        if kind not in remote_fields.KEYS:
            raise PipeError(Code.INVALID, "there is no such kind of key")
        if remote.public_key and not form.has("replace"):
            say = "No key is made: tick that the old one may go. The server does not know the new one yet."
            return self._pages.after(request, back, say, good=False)
        changed, _ = await self._operations.remotes.generate_key(name, kind)
        say = f"A new key is made. The owner of the server appends its line to authorized_keys of {changed.username}."
        return self._pages.after(request, back, say)

    async def removing(self, request: Request, actor: Actor, name: str) -> Response:
        remote = await self._existing(actor, name)
        return self._pages.render(
            request,
            "sure.html",
            actor,
            title=f"Remove remote {name}?",
            words=[
                f"{remote.username} at {remote.host}: its password, key and host keys are deleted for good.",
                "Recordings that wait for it are given up. What it has been sent stays there, and in the push log.",
            ],
            action=f"/remotes/{name}/remove",
            button="Remove it",
            back=f"/remotes/{name}",
        )

    async def remove(self, request: Request, actor: Actor, form: Filled, name: str) -> Response:
        await self._existing(actor, name)
        given_up = await self._operations.remotes.remove(name)
        self._tried.pop(name, None)
        say = f"Remote {name} is removed; recordings that waited for it and are given up: {given_up}."
        return self._pages.after(request, "/remotes", say)

    # What several need.

    async def _existing(self, actor: Actor, name: str) -> Remote:
        remote: Remote = await self._operations.remotes.existing(name)
        lists.seen(actor, remote.organisation)
        return remote

    def _refused(self, request: Request, back: str, error: PipeError) -> Response:
        if error.code not in (Code.CONFLICT, Code.FAILED):
            raise error
        return self._pages.after(request, back, f"This was not done: {error.message}.", good=False)


def _key(blob: bytes, beside: bytes | None, added_at: datetime | None = None, origin: str = "") -> HostKey:
    """:param beside: the key it is compared with; None: none."""
    told, other = fingerprint(blob), fingerprint(beside) if beside else ""
    mine, theirs = told.partition(":")[2], other.partition(":")[2]
    starts = range(0, len(mine), 4)
    groups = tuple((mine[at : at + 4], bool(theirs) and mine[at : at + 4] != theirs[at : at + 4]) for at in starts)
    return HostKey(algorithm(blob), told, groups, added_at, origin)
