"""An installation to copy, and one to use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
