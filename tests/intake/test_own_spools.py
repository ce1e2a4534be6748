"""Several processes with a spool of their own each: what a dead one left goes, what a living one is doing stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.intake.fakes import World, result

CSV = b"id,hours\n1,8\n"


class House:
    """A parent and two doors over one catalog and one store."""

    def __init__(self, spool: Path) -> None:
        self.parent = World(spool)
        self.doors = [self.door(spool / f"door-{number}") for number in (1, 2)]

    def door(self, folder: Path) -> World:
        parent = self.parent
        return World(folder, objects=parent.objects, uploads=parent.uploads, events=parent.events)

    def stored_only(self, door: World) -> str:
        """Die, or be, between raw copy and record. :returns: the key of the copy."""
        before = set(self.parent.objects.stored)
        self.parent.uploads.accepting.shut = True
        door.put(CSV)
        self.parent.uploads.accepting.waiting.clear()
        self.parent.uploads.accepting.shut = False
        (key,) = set(self.parent.objects.stored) - before
        return key

    def parts(self) -> list[str]:
        return sorted(str(path.relative_to(self.parent.folder)) for path in self.parent.folder.rglob("*.part"))


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path / "spool")


def test_of_two_copies_without_a_record_only_the_dead_ones_is_an_orphan(house):
    """The living one is between storing and recording just now."""
    dead, living = (house.stored_only(door) for door in house.doors)

    result(house.parent.intake.tidy(house.doors[0].folder))

    assert set(house.parent.objects.aside) == {dead}
    assert set(house.parent.objects.stored) == {living}
    assert not house.doors[0].folder.exists()
    assert len(house.parts()) == 1


def test_a_copy_with_a_record_stays_when_its_process_died_before_the_answer(house):
    upload = house.doors[0].begin()
    upload.write(0, CSV)
    result(upload.finish())
    (house.doors[0].folder / f"{upload.id}.part").write_bytes(CSV)

    result(house.parent.intake.tidy(house.doors[0].folder))

    assert house.parent.objects.aside == {}
    assert len(house.parent.objects.stored) == 1


def test_a_process_that_left_nothing_is_not_told_of(house):
    for _ in range(2):
        result(house.parent.intake.tidy(house.doors[0].folder))

    assert house.parent.events.of("service.recovered") == []


def test_a_start_drops_the_spools_of_all_processes(house):
    for door in house.doors:
        house.stored_only(door)

    result(house.parent.intake.recover())

    assert len(house.parent.objects.aside) == 2
    assert list(house.parent.folder.iterdir()) == []
