"""Remotes over HTTP: what ``conch-pipe remote`` does, through the same functions."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from conch_pipe.errors import Code, Mistakes, PipeError
from conch_pipe.model import Actor, Remote, Scope
from conch_pipe.ssh.keys import fingerprint
from conch_pipe.web.actors import Actors
from conch_pipe.web.operations import remote_documents as documents
from conch_pipe.web.operations.remote_documents import RemoteChanges, RemoteForm
from conch_pipe.web.operations.seeing import seen, while_asked, whose
from conch_pipe.web.operations.taking import JSON, fields, page, taken
from conch_pipe.web.parts import Parts
from conch_pipe.web.problems import mistakes_of
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response, document
from conch_pipe.web.routes import Route

LONGEST_TEST_S = 60.0  # somebody waits for it


class RemoteViews:
    """See the module."""

    def __init__(self, parts: Parts, actors: Actors) -> None:
        operations: Any = parts.operations
        self._remotes: Any = operations.remotes
        self._actors = actors

    async def list_remotes(self, request: Request) -> Response:
        """GET /api/remotes."""
        actor = await self._actors.of(request, Scope.READ)
        query = documents.RemotesQuery.model_validate(request.query)
        found = await self._remotes.list(whose(actor, query.organisation))
        shown, cursor = page(found, query, lambda one: (one.name,))
        return document(documents.Remotes(remotes=[self._document(one) for one in shown], next_cursor=cursor))

    async def add_remote(self, request: Request) -> Response:
        """POST /api/remotes."""
        actor = await self._actors.of(request, Scope.REMOTES)
        filled = await self._filled(request, RemoteForm)
        whose(actor, filled.fields["organisation"])
        made = await self._remotes.add(filled)
        return document(self._document(made), 201, {"Location": f"/api/remotes/{made.name}"})

    async def show_remote(self, request: Request, name: str) -> Response:
        """GET /api/remotes/{name}."""
        _, found = await self._found(request, Scope.READ, name)
        return document(self._document(found))

    async def edit_remote(self, request: Request, name: str) -> Response:
        """PATCH /api/remotes/{name}."""
        await self._found(request, Scope.REMOTES, name)
        filled = await self._filled(request, RemoteChanges)
        if filled.empty:
            raise PipeError(Code.INVALID, "nothing to change")
        return document(self._document(await self._remotes.edit(name, filled)))

    async def remove_remote(self, request: Request, name: str) -> Response:
        """DELETE /api/remotes/{name}."""
        await self._found(request, Scope.REMOTES, name)
        return document(documents.RemoteRemoved(name=name, given_up=await self._remotes.remove(name)))

    async def test_remote(self, request: Request, name: str) -> Response:
        """POST /api/remotes/{name}/test."""
        await self._found(request, Scope.REMOTES, name)
        trial = await while_asked(request, self._remotes.test(name, within_s=LONGEST_TEST_S))
        return document(
            documents.RemoteTest(
                remote=name,
                ok=trial.well,
                steps=documents.steps(trial.steps),
                warnings=documents.warnings(self._remotes.concerns(trial.remote)),
            )
        )

    async def trust_host_key(self, request: Request, name: str) -> Response:
        """POST /api/remotes/{name}/trust."""
        _, found = await self._found(request, Scope.REMOTES, name)
        asked = await taken(request, documents.TrustRequest)
        wanted = asked.fingerprint.rstrip("=")
        looking = self._remotes.host_key(name, wanted, within_s=LONGEST_TEST_S)
        blob, words = await while_asked(request, looking)
        if blob is None:
            raise PipeError(Code.CONFLICT, words)
        if fingerprint(blob) != wanted:
            return document(documents.another_key(found, blob, wanted), 409)
        return document(self._document(await self._remotes.trust(name, blob, keep_old=asked.keep_old)))

    async def enable_remote(self, request: Request, name: str) -> Response:
        """POST /api/remotes/{name}/enable."""
        await self._found(request, Scope.REMOTES, name)
        return document(self._document(await self._remotes.enable(name)))

    async def disable_remote(self, request: Request, name: str) -> Response:
        """POST /api/remotes/{name}/disable."""
        await self._found(request, Scope.REMOTES, name)
        return document(self._document(await self._remotes.disable(name)))

    async def make_key(self, request: Request, name: str) -> Response:
        """POST /api/remotes/{name}/key."""
        await self._found(request, Scope.REMOTES, name)
        asked = await taken(request, documents.KeyRequest)
        changed, shown = await self._remotes.generate_key(name, asked.type)
        return document(documents.PublicKey(remote=name, public_key=changed.public_key, fingerprint=shown))

    async def _found(self, request: Request, scope: Scope, name: str) -> tuple[Actor, Remote]:
        actor = await self._actors.of(request, scope)
        found: Remote | None = await self._remotes.get(name)
        return actor, seen(actor, found, found.organisation if found else "", f"no remote {name}")

    async def _filled(self, request: Request, model: type[RemoteChanges]) -> Any:
        """What the body fills in; of one whose fields have wrong types also the other fields are judged."""
        given = await fields(request)
        mistakes: tuple[str, ...] = ()
        try:
            form = model.model_validate(given)
        except ValidationError as error:
            mistakes = mistakes_of(error)
            wrong = {one["loc"][0] for one in error.errors(include_input=False) if one["loc"]}
            form = None
        if form is None:
            good = {name: value for name, value in given.items() if name not in wrong}
            named = {name: good.pop(name) for name in ("name", "organisation") if name in good}
            filled = RemoteChanges.model_validate(good).filled() | named
        else:
            filled = form.filled()
        try:
            return await self._remotes.fill(filled, new=model is RemoteForm, mistakes=mistakes, needed=form is not None)
        except Mistakes as wrong_fields:
            raise Mistakes(wrong_fields.what, [_in_camel(one) for one in wrong_fields.mistakes]) from None

    def _document(self, remote: Remote) -> documents.Remote:
        return documents.remote(self._remotes.document(remote), self._remotes.concerns(remote))


def _in_camel(mistake: str) -> str:
    """A mistake about a field, as the field is called here."""
    where, colon, what = mistake.partition(":")
    known = where.partition(".")[0] in RemoteForm.model_fields
    return f"{to_camel(where)}{colon}{what}" if known else mistake


def remote_routes(parts: Parts, actors: Actors) -> list[Route]:
    """Its part of the table."""
    views = RemoteViews(parts, actors)
    one = "/api/remotes/<name>"
    return [
        Route(
            "GET",
            "/api/remotes",
            views.list_remotes,
            "The servers that recordings are pushed to, by name.",
            query=documents.RemotesQuery,
            answers={200: documents.Remotes},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "POST",
            "/api/remotes",
            views.add_remote,
            "Add a remote.",
            "All mistakes are told at once. Test it next: nothing is pushed before a host key is trusted.",
            bodies={JSON: RemoteForm},
            answers={201: documents.Remote},
            refusals=(404, 409),
            scope=Scope.REMOTES,
        ),
        Route(
            "GET",
            one,
            views.show_remote,
            "One remote: everything but its secrets.",
            answers={200: documents.Remote},
            refusals=(404,),
            scope=Scope.READ,
        ),
        Route(
            "PATCH",
            one,
            views.edit_remote,
            "Change what is given of a remote.",
            "Recordings that wait for it are tried at once. Without any password or key it is disabled.",
            bodies={JSON: RemoteChanges},
            answers={200: documents.Remote},
            refusals=(404,),
            scope=Scope.REMOTES,
        ),
        Route(
            "DELETE",
            one,
            views.remove_remote,
            "Remove a remote with its secrets and host keys.",
            "Recordings that wait for it never reach it.",
            answers={200: documents.RemoteRemoved},
            refusals=(404,),
            scope=Scope.REMOTES,
        ),
        Route(
            "POST",
            f"{one}/test",
            views.test_remote,
            "Try a remote step by step: address, connection, host key, login, folder, a small file put there.",
            "While no host key is trusted it is shown and nothing is sent to log in: compare its fingerprint, trust "
            f"it, test again. It takes at most {LONGEST_TEST_S:.0f} s, and ends when you close the connection.",
            answers={200: documents.RemoteTest},
            refusals=(404, 409),
            scope=Scope.REMOTES,
        ),
        Route(
            "POST",
            f"{one}/trust",
            views.trust_host_key,
            "Trust the host key of this fingerprint, in place of the old ones.",
            "The key is the one that made the service disable the remote; else it is asked for, without logging in. "
            "Then the remote is enabled, and recordings that wait for it are tried at once. "
            "409 tells what is shown when it is another one.",
            bodies={JSON: documents.TrustRequest},
            answers={200: documents.Remote, 409: documents.TrustRefusal},
            refusals=(404,),
            scope=Scope.REMOTES,
        ),
        Route(
            "POST",
            f"{one}/enable",
            views.enable_remote,
            "Use a remote again.",
            "Recordings that wait for it are tried at once.",
            answers={200: documents.Remote},
            refusals=(404,),
            scope=Scope.REMOTES,
        ),
        Route(
            "POST",
            f"{one}/disable",
            views.disable_remote,
            "Connect to a remote no more until it is enabled.",
            "Attempts that fall due meanwhile count as failed.",
            answers={200: documents.Remote},
            refusals=(404,),
            scope=Scope.REMOTES,
        ),
        Route(
            "POST",
            f"{one}/key",
            views.make_key,
            "Make a new key pair; the customer installs the public half.",
            "A key that the remote had is replaced: the server does not know the new one yet. The password stays.",
            bodies={JSON: documents.KeyRequest},
            answers={200: documents.PublicKey},
            refusals=(404,),
            scope=Scope.REMOTES,
        ),
    ]
