"""Names of files on their way."""

from __future__ import annotations

import pytest

from conch_pipe.intake.temporary_names import OFF, TemporaryNames


@pytest.mark.parametrize(
    ("name", "final"),
    [
        ("a.csv.filepart", "a.csv"),
        ("a.csv.FILEPART", "a.csv"),
        ("a.csv.part", "a.csv"),
        ("a.csv.tmp", "a.csv"),
        ("a.csv.partial", "a.csv"),
        ("a.csv.1f2E3d4c.partial", "a.csv"),
        ("a.csv.1f2e3d4.partial", "a.csv.1f2e3d4"),
        ("a.csv.1f2e3d4c.part", "a.csv.1f2e3d4c"),
        (".in.a.csv", "a.csv"),
        ("é.json.part", "é.json"),
        (".filepart", None),
        (".in.", None),
        ("a.csv", None),
        ("part.csv", None),
        ("", None),
    ],
)
def test_a_temporary_name_stands_for_its_final_name(name, final):
    assert TemporaryNames().final(name) == final


def test_switched_off_no_name_is_temporary():
    assert OFF.final("a.csv.filepart") is None


def test_the_list_is_a_setting():
    names = TemporaryNames(suffixes=(".new", ".csv.new"), prefixes=())

    assert names.final("a.new") == "a"
    assert names.final("a.csv.new") == "a"
    assert names.final(".in.a.csv") is None
