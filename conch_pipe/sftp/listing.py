"""Attributes and long names as clients expect them. Pure; knows nothing of uploads."""

from __future__ import annotations

import stat
import time
from typing import TypedDict

OWNER = b"partner"
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_HALF_YEAR_S = 15_778_476  # 365.2425 days / 2: beyond it ls prints the year
_TIME_MAX = 0xFFFF_FFFF  # version 3 sends times as 32 bits

_ROOT = stat.S_IFDIR | 0o555
_FOLDER = stat.S_IFDIR | 0o777
_FILE = stat.S_IFREG | 0o200


class Attributes(TypedDict):
    """What STAT answers. The wire drops uid without gid and atime without mtime, so all are always there."""

    size: int
    uid: int
    gid: int
    permissions: int
    atime: int
    mtime: int


def root_attributes(at: float) -> Attributes:
    """The root: may be listed, takes nothing.

    :param at: POSIX time in seconds.
    """
    return _attributes(_ROOT, 0, at)


def folder_attributes(at: float) -> Attributes:
    """A schema folder. Clients test S_IFDIR before they put into it (OpenSSH sftp.c, ``remote_is_dir``)."""
    return _attributes(_FOLDER, 0, at)


def file_attributes(size: int, at: float) -> Attributes:
    """A file being put or put: write-only.

    :param size: bytes so far.
    :param at: POSIX time in seconds of its last change.
    """
    return _attributes(_FILE, size, at)


def entry(name: bytes, attributes: Attributes, now: float) -> tuple[bytes, bytes, Attributes]:
    """One row of a listing: name, the line ``ls -l`` prints, attributes.

    :param now: POSIX time in seconds: recent files show the hour, others the year.
    """
    return name, long_name(name, attributes, now), attributes


def long_name(name: bytes, attributes: Attributes, now: float) -> bytes:
    """The line ``ls -l`` prints.

    :source: draft-ietf-secsh-filexfer-02 section 7, the recommended format.
    """
    links = 2 if stat.S_ISDIR(attributes["permissions"]) else 1
    mode = stat.filemode(attributes["permissions"]).encode()
    date = _date(attributes["mtime"], now)
    return b"%s %3d %-8s %-8s %8d %s %s" % (mode, links, OWNER, OWNER, attributes["size"], date, name)


def _date(at: float, now: float) -> bytes:
    moment = time.gmtime(at)
    month = _MONTHS[moment.tm_mon - 1]  # strftime would follow the locale
    # A time ahead of the clock is shown with its year, as ls does.
    if now - _HALF_YEAR_S < at <= now + 60:
        return b"%s %2d %02d:%02d" % (month, moment.tm_mday, moment.tm_hour, moment.tm_min)
    return b"%s %2d  %04d" % (month, moment.tm_mday, moment.tm_year)


def _attributes(permissions: int, size: int, at: float) -> Attributes:
    second = min(max(int(at), 0), _TIME_MAX)
    return Attributes(size=size, uid=0, gid=0, permissions=permissions, atime=second, mtime=second)
