"""Organisations: tenants with all that is theirs, their schemas, and the environments that say where recordings go."""

from __future__ import annotations

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Actor, Environment, Organisation, Scope
from conch_pipe.web.dashboard import lists
from conch_pipe.web.dashboard.forms import Filled
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.parts import Parts
from conch_pipe.web.request import Request
from conch_pipe.web.responses import Response
from conch_pipe.web.routes import Route

ADD = "/organisations/+add"  # no name begins so
REFUSED = (Code.INVALID, Code.CONFLICT, Code.NOT_FOUND)  # of a form, which is shown again


def organisations(pages: Pages, parts: Parts) -> list[Route]:
    """Its routes."""
    views = _Organisations(pages, parts)
    one = "/organisations/<name>"
    environment = f"{one}/environments/<environment>"
    return [
        pages.get("/organisations", views.page),
        pages.get(ADD, views.new, Scope.TENANTS),
        pages.post(ADD, views.add, Scope.TENANTS),
        pages.get(one, views.one),
        pages.post(f"{one}/schemas/<schema>", views.switch, Scope.TENANTS),
        pages.get(f"{one}/environments/+add", views.new_environment, Scope.REMOTES),
        pages.post(f"{one}/environments/+add", views.add_environment, Scope.REMOTES),
        pages.get(environment, views.environment, Scope.REMOTES),
        pages.post(environment, views.change_environment, Scope.REMOTES),
        pages.get(f"{environment}/remove", views.removing_environment, Scope.REMOTES),
        pages.post(f"{environment}/remove", views.remove_environment, Scope.REMOTES),
    ]


class _Organisations:
    def __init__(self, pages: Pages, parts: Parts) -> None:
        self._pages = pages
        self._operations = parts.operations

    async def page(self, request: Request, actor: Actor) -> Response:
        found = [one for one in await self._operations.organisations.list() if actor.sees(one.name)]
        return self._pages.render(request, "organisations.html", actor, rows=found)

    async def one(self, request: Request, actor: Actor, name: str) -> Response:
        found = await self._existing(actor, name)
        operations = self._operations
        uses = [
            one for one in await operations.schemas.list() if actor.organisation is None or name in one.organisations
        ]
        return self._pages.render(
            request,
            "organisation.html",
            actor,
            organisation=found,
            schemas=uses,
            uploads=await operations.uploads.counts(name),
            pushes=await operations.pushes.counts(name),
            credentials=await operations.credentials.list(name),
            environments=await operations.environments.list(name),
            remotes=await operations.remotes.list(name),
            webhooks=len(await operations.webhooks.list(name)),
        )

    # Making one.

    async def new(self, request: Request, actor: Actor) -> Response:
        return await self._form(request, actor, Filled({}))

    async def add(self, request: Request, actor: Actor, form: Filled) -> Response:
        try:
            made = await self._operations.organisations.create(
                form.get("name"), form.get("title"), tuple(form.all("schema"))
            )
        except PipeError as error:
            if error.code not in REFUSED:
                raise
            return await self._form(request, actor, form, error.message)
        say = f"Organisation {made.name} is made. Next: a credential, so that its partner can log in."
        return self._pages.after(request, f"/organisations/{made.name}", say)

    async def _form(self, request: Request, actor: Actor, form: Filled, problem: str = "") -> Response:
        return self._pages.render(
            request,
            "organisation_form.html",
            actor,
            status=400 if problem else 200,
            name=form.get("name"),
            title=form.get("title"),
            chosen=form.all("schema"),
            schemas=[one for one in await self._operations.schemas.list() if one.schema],
            problem=problem,
        )

    async def switch(self, request: Request, actor: Actor, form: Filled, name: str, schema: str) -> Response:
        """A schema is turned on or off."""
        await self._existing(actor, name)
        if form.has("on"):
            await self._operations.organisations.enable_schemas(name, schema)
            say = f"{schema} is on: the next login of {name} sees the folder."
        else:
            await self._operations.organisations.disable_schemas(name, schema)
            say = f"{schema} is off for {name}; what was uploaded stays."
        return self._pages.after(request, f"/organisations/{name}#schemas", say)

    # Environments.

    async def new_environment(self, request: Request, actor: Actor, name: str) -> Response:
        return await self._environment_form(request, actor, name, None, Filled({}))

    async def add_environment(self, request: Request, actor: Actor, form: Filled, name: str) -> Response:
        await self._existing(actor, name)
        try:
            made = await self._operations.environments.create(
                name, form.get("name"), tuple(form.all("remote")), form.has("delete_delivered")
            )
        except PipeError as error:
            if error.code not in REFUSED:
                raise
            return await self._environment_form(request, actor, name, None, form, error.message)
        say = f"Environment {made.name} is made. Recordings that are handed over from now on go to its remotes."
        return self._pages.after(request, f"/organisations/{name}#environments", say)

    async def environment(self, request: Request, actor: Actor, name: str, environment: str) -> Response:
        found = await self._environment(actor, name, environment)
        fields = {"remote": list(found.remotes), "delete_delivered": ["yes" if found.delete_delivered else ""]}
        return await self._environment_form(request, actor, name, found, Filled(fields))

    async def change_environment(
        self, request: Request, actor: Actor, form: Filled, name: str, environment: str
    ) -> Response:
        found = await self._environment(actor, name, environment)
        try:
            await self._operations.environments.edit(
                name, environment, remotes=tuple(form.all("remote")), delete_delivered=form.has("delete_delivered")
            )
        except PipeError as error:
            if error.code not in REFUSED:
                raise
            return await self._environment_form(request, actor, name, found, form, error.message)
        say = f"Environment {environment} is changed. Recordings that were accepted before keep their remotes."
        return self._pages.after(request, f"/organisations/{name}#environments", say)

    async def removing_environment(self, request: Request, actor: Actor, name: str, environment: str) -> Response:
        await self._environment(actor, name, environment)
        return self._pages.render(
            request,
            "sure.html",
            actor,
            title=f"Remove environment {environment}?",
            words=["Recordings can be handed over to it no more. Those that were are still there, with their log."],
            action=f"/organisations/{name}/environments/{environment}/remove",
            button="Remove it",
            back=f"/organisations/{name}",
        )

    async def remove_environment(
        self, request: Request, actor: Actor, form: Filled, name: str, environment: str
    ) -> Response:
        await self._environment(actor, name, environment)
        back = f"/organisations/{name}#environments"
        try:
            await self._operations.environments.remove(name, environment)
        except PipeError as error:
            if error.code is not Code.CONFLICT:
                raise
            return self._pages.after(request, back, f"It is not removed: {error.message}.", good=False)
        return self._pages.after(request, back, f"Environment {environment} is removed.")

    async def _environment_form(
        self,
        request: Request,
        actor: Actor,
        name: str,
        environment: Environment | None,
        form: Filled,
        problem: str = "",
    ) -> Response:
        organisation = await self._existing(actor, name)
        return self._pages.render(
            request,
            "environment_form.html",
            actor,
            status=400 if problem else 200,
            organisation=organisation,
            environment=environment,
            name=form.get("name"),
            chosen=form.all("remote"),
            delete_delivered=form.has("delete_delivered"),
            remotes=await self._operations.remotes.list(name),
            problem=problem,
        )

    # What several need.

    async def _existing(self, actor: Actor, name: str) -> Organisation:
        lists.seen(actor, name)
        found: Organisation = await self._operations.organisations.existing(name)
        return found

    async def _environment(self, actor: Actor, name: str, environment: str) -> Environment:
        lists.seen(actor, name)
        found: Environment | None = await self._operations.environments.get(name, environment)
        if found is None:
            raise PipeError(Code.NOT_FOUND, "no such environment")
        return found
