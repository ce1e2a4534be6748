"""One real service, one Chromium, and people who have signed in; pages as they see them.

What is missing is named and its tests are skipped: ``sh etc/clients`` installs it. With SCREENSHOTS=FOLDER in the
environment each look at a page is kept there as a picture.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.live.service import Service, running

AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "kanarek of eleven words, or not quite"
OPERATOR, MEMBER = "olga", "mina@demo.example"
SETTINGS = {"push.networks_allowed": "127.0.0.0/8", "webhooks.networks_allowed": "127.0.0.0/8"}
SIZES = {"desktop": (1280, 860), "phone": (390, 844)}
COLUMNS = "shift_id,store_id,employee_id,role,starts_at,ends_at,break_minutes,status,hourly_rate,published\n"
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.csv"


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window; ends with these tests, as nothing else runs asyncio beside it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright (pip) is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed: sh etc/clients")
    if not AXE.exists():
        pytest.skip("axe-core is not installed: sh etc/clients")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=program)
        yield chromium
        chromium.close()


class Site:
    """The service, with some files in it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.url = json.loads(service.command("status", "--json"))["http_url"]
        self._token = ""

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """A request of a client to the API. :returns: the document."""
        request = urllib.request.Request(f"{self.url}{path}", body or None, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def send(self, name: str, content: bytes, schema: str = "orgShifts") -> str:
        """Send a file and wait for its verdict. :returns: the upload's id."""
        if not self._token:
            login = {"client_id": self.service.login.client_id, "client_secret": self.service.login.client_secret}
            given = self.ask("POST", "/api/external/auth/token", json.dumps(login).encode(), **_JSON)
            self._token = given["access_token"]
        query = urlencode({"schemaType": schema, "fileName": name, "wait": 30})
        bearer = {"Authorization": f"Bearer {self._token}", "Content-Type": "text/csv"}
        return str(self.ask("POST", f"/api/external/upload?{query}", content, **bearer)["uploadId"])

    def person(self, name: str, organisation: str = "") -> None:
        """Somebody who can sign in with PASSWORD."""
        file = self.service.folder / "password"
        file.write_text(PASSWORD)
        member = ["--organisation", organisation] if organisation else []
        self.service.command("person", "add", name, "--password-file", str(file), *member)


def shifts(*days: int, wrong: bool = False) -> bytes:
    """A file of shifts, one a day; in a wrong one two things are wrong with each."""
    text = COLUMNS
    for day in days:
        until, published = ("at four", "perhaps") if wrong else (f"2026-03-{day:02}T16:00:00Z", "yes")
        text += f"S{day},S001,E{day},cashier,2026-03-{day:02}T08:00:00Z,{until},30,confirmed,12.50,{published}\n"
    return text.encode()


_JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="package")
def site(browser, tmp_path_factory) -> Iterator[Site]:
    """The service of these tests; what one leaves in it the next may see."""
    with running(tmp_path_factory.mktemp("browser"), SETTINGS) as service:
        service.hides(password=PASSWORD)
        made = Site(service)
        made.person(OPERATOR)
        made.person(MEMBER, "demo")
        yield made


@pytest.fixture(scope="package")
def outgoing(site) -> Any:
    """Recordings by id; with them remotes, environments and another organisation."""
    from tests.browser import outflow

    return outflow.fill(site)


@pytest.fixture(scope="package")
def signed_in(browser, site) -> Callable[[str], Any]:
    """A function: what a browser keeps of somebody who has signed in."""
    kept: dict[str, Any] = {}

    def state(name: str) -> Any:
        if name and name not in kept:
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"{site.url}/sign-in")
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url("**/overview")
            kept[name] = context.storage_state()
            context.close()
        return kept.get(name)

    return state


@pytest.fixture
def page(browser, site, signed_in) -> Iterator[Callable[..., Any]]:
    """A function that opens a page: ``page("/uploads", MEMBER)``; nobody has signed in when the name is empty.

    At the end no page has complained in its console (``page.complaints``), and nothing was asked of another host.
    """
    contexts: list[Any] = []
    complaints: list[str] = []
    foreign: list[str] = []

    def heard(message: Any) -> None:
        # A page that is refused is told with its status there; that is what its test is about.
        if message.type in ("error", "warning") and "the server responded with a status of" not in message.text:
            complaints.append(f"{message.location.get('url')}: {message.text}")

    def asked(request: Any) -> None:
        if not request.url.startswith((f"{site.url}/", "data:")):
            foreign.append(request.url)

    def open_page(path: str, name: str = OPERATOR, size: str = "desktop", **options: Any) -> Any:
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        # What still appears has the colours of no page: axe would judge them.
        still = {"reduced_motion": "reduce", **options}
        context = browser.new_context(storage_state=signed_in(name), viewport=viewport, **still)
        contexts.append(context)
        opened = context.new_page()
        opened.on("console", heard)
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", asked)
        opened.goto(f"{site.url}{path}")
        return opened

    open_page.complaints = complaints  # type: ignore[attr-defined]
    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert foreign == []


def axe(page: Any) -> list[str]:
    """What axe finds serious or critical: its rule, and where."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def look(page: Any, name: str) -> None:
    """In light and dark, on a desk and on a phone: axe is content, and nothing sticks out at the side.

    :param name: of the pictures.
    """
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(50)  # two frames: what is drawn again has been
            picture(page, f"{name}-{size}-{scheme}")
            assert axe(page) == [], (name, size, scheme)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{name} is {over} pixels wider than a {size}"


def glance(page: Any, name: str) -> None:
    """As ``look``, but only light on a desk and dark on a phone."""
    for (size, (width, height)), scheme in zip(SIZES.items(), ("light", "dark"), strict=True):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(50)
        picture(page, f"{name}-{size}-{scheme}")
        assert axe(page) == [], (name, size, scheme)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{name} is {over} pixels wider than a {size}"


def picture(page: Any, name: str) -> None:
    """Keep how it looks now, when somebody wants to see it."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)
