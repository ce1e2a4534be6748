"""How values are shown to people: times, durations, sizes and counts, each with its unit.

A time is written in UTC; the page's script puts the viewer's zone in its place and keeps UTC as the title.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from markupsafe import Markup

_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")
NOTHING = Markup('<span class="nothing">–</span>')


def count(number: int | None) -> str | Markup:
    """``12,345``."""
    return NOTHING if number is None else f"{number:,}"


def counted(number: int, one: str, many: str = "") -> str:
    """``1 row``, ``2 rows``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(number: int | None) -> str | Markup:
    """``1.4 MiB``; every byte is told below 1 KiB."""
    if number is None:
        return NOTHING
    if number < 1024:
        return counted(number, "byte")
    value = float(number)
    unit = 0
    while value >= 1023.95 and unit < len(_SIZES) - 1:
        value /= 1024
        unit += 1
    return f"{value:.1f} {_SIZES[unit]}" if value < 99.95 else f"{value:.0f} {_SIZES[unit]}"


def duration(seconds: float | None) -> str | Markup:
    """``8 ms``, ``1.2 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < 86_400:
        return _two(whole, 3600, "h", 60, "min")
    return _two(whole, 86_400, "d", 3600, "h")


def _two(seconds: int, each: int, unit: str, smaller: int, small: str) -> str:
    rest = seconds % each // smaller
    return f"{seconds // each} {unit}" + (f" {rest} {small}" if rest else "")


def text(value: str) -> Markup:
    """What a partner wrote, apart from what is around it: control characters as escapes, any direction in its place."""
    return Markup("<bdi>{}</bdi>").format(printable(value))


def printable(value: str) -> str:
    """The same where there can be no element, in a title."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in value)


def time(at: datetime | None) -> Markup:
    """A moment to the second."""
    if at is None:
        return NOTHING
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), f"{at:%Y-%m-%d %H:%M:%S} UTC",
        f"{at:%Y-%m-%d %H:%M:%S} UTC",
    )  # fmt: skip


def away(at: datetime | None, now: datetime) -> Markup:
    """How far a moment is: ``3 min ago``, ``in 2 h``; the moment itself is the title."""
    if at is None:
        return NOTHING
    at = at.astimezone(UTC)
    apart = (now - at) / timedelta(seconds=1)
    words = _roughly(abs(apart))
    return Markup('<time datetime="{}" title="{}" data-away>{}</time>').format(
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        f"{at:%Y-%m-%d %H:%M:%S} UTC",
        "now" if words == "0 s" else f"{words} ago" if apart > 0 else f"in {words}",
    )


def _roughly(seconds: float) -> str:
    """With one unit; the page's script says the same."""
    for each, unit, most in ((1, "s", 60), (60, "min", 60), (3600, "h", 48)):
        if seconds < each * most:
            return f"{int(seconds // each)} {unit}"
    return f"{int(seconds // 86_400)} d"
