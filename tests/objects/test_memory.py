"""The objects other rooms test with keep the contract."""

from __future__ import annotations

import pytest

from conch_pipe.objects import MemoryObjects
from tests.contracts.objects import ObjectsContract


class TestMemory(ObjectsContract):
    @pytest.fixture
    def objects(self, tmp_path):
        (tmp_path / "scratch").mkdir()
        return MemoryObjects(tmp_path / "scratch")
