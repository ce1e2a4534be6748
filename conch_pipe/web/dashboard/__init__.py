"""The dashboard: pages for people, made on the server. All it changes, it changes through ``parts.operations``."""

from __future__ import annotations

from dataclasses import dataclass

from conch_pipe.web.dashboard.credentials import credentials
from conch_pipe.web.dashboard.entry import entry
from conch_pipe.web.dashboard.organisations import organisations
from conch_pipe.web.dashboard.overview import overview
from conch_pipe.web.dashboard.pages import Pages
from conch_pipe.web.dashboard.pushes import pushes
from conch_pipe.web.dashboard.recordings import recordings
from conch_pipe.web.dashboard.remotes import remotes
from conch_pipe.web.dashboard.schemas import schemas
from conch_pipe.web.dashboard.static_files import StaticFiles
from conch_pipe.web.dashboard.uploads import uploads
from conch_pipe.web.dashboard.webhooks import webhooks
from conch_pipe.web.parts import Parts
from conch_pipe.web.routes import Refuse, Route
from conch_pipe.web.sign_in import SignIn


@dataclass(frozen=True, slots=True)
class Dashboard:
    """:ivar refuse: what is said of paths that lead nowhere."""

    routes: list[Route]
    refuse: Refuse


def dashboard(parts: Parts, signing: SignIn) -> Dashboard:
    """All pages, and what else they need from here."""
    files = StaticFiles()
    pages = Pages(parts, signing, files)
    routes = [
        pages.open("GET", "/static/<digest>/<name>", files.serve),
        *entry(pages, signing),
        *overview(pages, parts),
        *uploads(pages, parts),
        *pushes(pages, parts),
        *recordings(pages, parts),
        *remotes(pages, parts),
        *credentials(pages, parts),
        *schemas(pages, parts),
        *organisations(pages, parts),
        *webhooks(pages, parts),
    ]
    return Dashboard(routes, pages.refuse)
