"""One real service for the whole run, some with other settings, the files to put, and the names of missing clients."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live import material
from tests.live.clients import CLIENTS, Client, Target
from tests.live.service import Service, running

_missing: dict[str, str] = {}


def pytest_terminal_summary(terminalreporter):
    """Which clients the tests could not be run with, and why."""
    if _missing:
        terminalreporter.write_sep("-", "clients not had: " + ", ".join(sorted(_missing)))
        for client, why in sorted(_missing.items()):
            terminalreporter.write_line(f"{client}: {why}")


def had(client: Client) -> Client:
    """The client, or a skip that names it."""
    if (why := client.missing()) is not None:
        _missing[client.name] = why
        pytest.skip(why)
    return client


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name.replace(" ", "-"))
def client(request) -> Client:
    """Each real client in turn."""
    return had(request.param)


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """The service of the run, with init's settings; at the end it must stop well and have told no secret."""
    with running(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="session")
def small_service(tmp_path_factory):
    """A service that takes 64 KiB at most, and does not slow down those who log in wrongly again and again."""
    settings = {"uploads.max_bytes": 65_536, "limits.failures_per_minute": 1000}
    with running(tmp_path_factory.mktemp("small"), settings) as service:
        yield service


@pytest.fixture
def fresh_service(tmp_path):
    """A function that makes an own service with other settings; those still running are stopped and looked through."""
    made: list[Service] = []

    def make(settings=None) -> Service:
        folder = tmp_path / f"service{len(made)}"
        folder.mkdir()
        made.append(Service(folder, settings).init().start())
        return made[-1]

    try:
        yield make
        for service in made:
            if service.process is not None:
                service.stop()
    finally:
        for service in made:
            service.kill()


@pytest.fixture
def target(service, tmp_path) -> Target:
    """The demo credential at the service of the run."""
    return service.target(tmp_path / "scratch")


@dataclass(frozen=True)
class Files:
    """Files to put, and of the large one what is needed to compare it."""

    folder: Path
    csv: Path
    json: Path
    large: Path
    large_rows: int
    large_sha256: str
    bad_header: Path
    too_large: Path

    def named(self, original: Path, name: str) -> Path:
        """The same bytes under another local name."""
        path = self.folder / name
        if not path.exists():
            path.hardlink_to(original)
        return path


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Files:
    """Made once."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "good.csv").write_bytes(material.TRANSACTIONS.read_bytes())
    (folder / "good.json").write_bytes(material.SHIFTS.read_bytes())
    (folder / "bad-header.csv").write_bytes(material.TRANSACTIONS.read_bytes().replace(b"store_id", b"nobody_knows", 1))
    rows = material.large_csv(folder / "large.csv")
    material.large_csv(folder / "too-large.csv", 200_000)
    return Files(
        folder=folder,
        csv=folder / "good.csv",
        json=folder / "good.json",
        large=folder / "large.csv",
        large_rows=rows,
        large_sha256=hashlib.sha256((folder / "large.csv").read_bytes()).hexdigest(),
        bad_header=folder / "bad-header.csv",
        too_large=folder / "too-large.csv",
    )
