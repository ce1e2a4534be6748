"""An installation to copy, one to use, and several that are killed at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.crash.installation import Installation
from tests.live.service import Service


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Service:
    """Made once; each test works on a copy."""
    return Service(tmp_path_factory.mktemp("template")).init()


@pytest.fixture
def install(template, tmp_path) -> Iterator[Callable[..., Installation]]:
    """A function that makes an installation with other settings; those that still run are killed at the end."""
    made: list[Installation] = []

    def make(**settings: Any) -> Installation:
        folder = tmp_path / f"service{len(made)}"
        folder.mkdir()
        made.append(Installation(folder, template, {name.replace("__", "."): each for name, each in settings.items()}))
        return made[-1]

    yield make
    for installation in made:
        installation.kill()


def two_at_a_time(request, parameter: str, run: Callable[[str], None]) -> Iterator[dict[str, Future[None]]]:
    """For a fixture of a module: all its collected scenarios run from the first test on; the tests wait for theirs.

    :param parameter: of the tests, which names a scenario.
    """
    collected = [getattr(getattr(item, "callspec", None), "params", {}) for item in request.session.items]
    with ThreadPoolExecutor(2) as pool:
        yield {one[parameter]: pool.submit(run, one[parameter]) for one in collected if parameter in one}
        pool.shutdown(cancel_futures=True)
