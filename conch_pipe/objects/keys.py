"""What a key looks like: made by us, never by a client, and safe as a path below a folder."""

from __future__ import annotations

import re

from conch_pipe.errors import Code, PipeError

# Every part begins with a letter or digit, so there is no "..", no "//", no hidden file.
_KEY = re.compile(r"[0-9a-z][0-9a-z.-]*(/[0-9a-z][0-9a-z.-]*)*\Z")
LONGEST = 255


def valid(key: str) -> str:
    """:returns: the key itself. :raises PipeError: FAILED, for a wrong key is a mistake of ours."""
    if len(key) > LONGEST or not _KEY.match(key):
        raise PipeError(Code.FAILED, "the file cannot be stored", f"not a key: {key!r}")
    return key
