"""Attributes and long names as clients read them."""

from __future__ import annotations

import re
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh.filetransfer import FileTransferBase

from conch_pipe.sftp import listing
from tests.sftp.conftest import START
from tests.sftp.test_tree import DOSE


def test_folders_are_folders_and_files_are_write_only():
    root, folder, file = (
        listing.root_attributes(START),
        listing.folder_attributes(START),
        listing.file_attributes(7, START),
    )

    assert stat.filemode(root["permissions"]) == "dr-xr-xr-x"
    assert stat.filemode(folder["permissions"]) == "drwxrwxrwx"
    assert stat.filemode(file["permissions"]) == "--w-------"
    assert file["size"] == 7


def test_every_pair_of_attributes_is_whole():
    """The wire drops uid without gid and atime without mtime."""
    packed = FileTransferBase._packAttributes(None, dict(listing.file_attributes(7, START)))

    assert packed[:4] == b"\x00\x00\x00\x0f"


@pytest.mark.parametrize(
    ("at", "date"),
    [
        (START, b"Oct  9 08:53"),
        (START - 100 * 86_400, b"Jul  1 08:53"),
        (START - 200 * 86_400, b"Mar 23  2025"),
        (START + 86_400, b"Oct 10  2025"),
        (0, b"Jan  1  1970"),
        (2**40, b"Feb  7  2106"),
        (-5, b"Jan  1  1970"),
    ],
)
def test_a_long_name_shows_the_hour_of_recent_files_and_the_year_of_others(at, date):
    line = listing.long_name(b"a.csv", listing.file_attributes(1234, at), START)

    assert line == b"--w-------   1 partner  partner      1234 " + date + b" a.csv"


# What WinSCP, PSFTP and FileZilla cut a line into: mode, links, owner, group, size, three words of date, name.
LS = re.compile(
    rb"([bcdlps-][rwxsStT-]{9}) +\d+ +(\S+) +(\S+) +(\d+) (\w{3} [ \d]\d (?:\d\d:\d\d| \d{4})) (.+)", re.DOTALL
)
names = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/"), min_size=1, max_size=60
)


@settings(max_examples=100 * DOSE, deadline=None)
@given(name=names, size=st.integers(0, 2**63), at=st.integers(0, 2**32 - 1), now=st.integers(0, 2**32 - 1))
def test_every_long_name_can_be_cut_as_ls_lines_are(name, size, at, now):
    row = listing.entry(name.encode(), listing.file_attributes(size, at), now)

    mode, _, _, told, _, last = LS.fullmatch(row[1]).groups()
    assert (mode, int(told), last) == (b"--w-------", size, name.encode())
