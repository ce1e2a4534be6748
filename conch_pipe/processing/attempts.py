"""When a push is tried, and when the files of one that was in vain are deleted: pure dates.

Thirteen attempts within 75 hours of the moment the recording was saved, each at an instant of its own that only the ids
decide: a log or a test can name the second. Does not touch pushes, clocks or files; push.py and retention.py do.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID
from zoneinfo import ZoneInfo

_MINUTES = (0, 2, 7, 17, 32, 62, 122, 242, 482, 842, 1562, 3002, 4442)
NOMINAL = tuple(timedelta(minutes=minutes) for minutes in _MINUTES)  # after the recording was saved (ruling 9)
ATTEMPTS = len(NOMINAL)
WINDOW = timedelta(hours=75)  # the last attempt begins within it, unless we were down

JITTER_SHARE, JITTER_S = 0.05, 120  # of the gap before an attempt, and at most so many seconds
REST_S = 300.0  # at most, between the end of an attempt and the next
SPREAD_S = 600.0  # in which attempts are made whose moment passed while the service was down

KEPT_DAYS, KEPT_HOURS = 28, 672  # ruling 10
NOTICES = (timedelta(days=7), timedelta(days=1))  # before a purge
ZONE = ZoneInfo("Europe/Bucharest")


def _hash(*parts: object) -> int:
    return int.from_bytes(sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def _gap_s(number: int) -> float:
    """Seconds between two instants, before the attempt of this number."""
    return (NOMINAL[number - 1] - NOMINAL[number - 2]).total_seconds() if number > 1 else 0.0


def jitter_s(number: int, recording: UUID, remote: str) -> int:
    """Whole seconds an attempt begins after its nominal instant, so that a thousand recordings do not come at once.

    :param number: of the attempt, from 1.
    """
    most = min(JITTER_S, int(_gap_s(number) * JITTER_SHARE))
    return _hash(recording, remote, number) % most if most else 0


def instant(number: int, saved_at: datetime, recording: UUID, remote: str) -> datetime:
    """The moment of an attempt on paper."""
    return saved_at + NOMINAL[number - 1] + timedelta(seconds=jitter_s(number, recording, remote))


def due(number: int, saved_at: datetime, recording: UUID, remote: str, ended_at: datetime | None = None) -> datetime:
    """When an attempt begins: at its instant, or after a rest when the one before took long.

    :param number: of the attempt, 1 to ATTEMPTS.
    :param ended_at: end of the attempt before.
    """
    moment = instant(number, saved_at, recording, remote)
    if ended_at is None or number == 1:
        return moment
    return max(moment, ended_at + timedelta(seconds=min(_gap_s(number) / 2, REST_S)))


def start(moment: datetime, up_since: datetime, recording: UUID, remote: str) -> datetime:
    """When an attempt that was due at a moment is made by a service that came up at another.

    What was missed is spread over as long as it is late, 10 minutes at most.
    """
    if moment >= up_since:
        return moment
    spread = min(SPREAD_S, (up_since - moment).total_seconds())
    # Another place after each start: a service that is restarted again and again must not leave the same ones behind.
    return up_since + timedelta(seconds=spread * (_hash(recording, remote, "late", up_since) % 1000) / 1000)


def left(made: int) -> int:
    """Counted attempts that are still to come."""
    return max(0, ATTEMPTS - made)


def ends_at(saved_at: datetime) -> datetime:
    """End of the time in which attempts are made."""
    return saved_at + WINDOW


def purge_at(given_up_at: datetime) -> datetime:
    """When the files of a recording that did not reach all remotes are deleted (ruling 10).

    The same time of day in Romania 28 days later, but never before 672 hours have passed.
    """
    here = given_up_at.astimezone(ZONE).replace(tzinfo=None) + timedelta(days=KEPT_DAYS)
    # A time that the clock change skips, or that there is twice, is taken as late as it can be.
    moments = [here.replace(tzinfo=ZONE, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return max(*moments, given_up_at.astimezone(UTC) + timedelta(hours=KEPT_HOURS))


def next_notice(purge: datetime, now: datetime) -> datetime:
    """What comes next on the way to a purge: the notices before it, then the purge itself."""
    return next((moment for notice in NOTICES if (moment := purge - notice) > now), purge)
