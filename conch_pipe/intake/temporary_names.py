"""Names that clients give to a file while it is on its way, and the final names they stand for (ruling 2).

Pure. Does not decide what a final name may look like (see admission.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# rclone puts eight hexadecimal digits before its suffix: a.csv.1f2e3d4c.partial (backend/sftp, operations/copy.go).
_RCLONE = re.compile(r"\.[0-9a-f]{8}\Z", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TemporaryNames:
    """Which decorations make a name a temporary one; any case. Without any, no name is.

    :param suffixes: endings. WinSCP: .filepart; rclone: .partial; many scripts: .part, .tmp.
    :param prefixes: beginnings. lftp: .in.
    """

    suffixes: tuple[str, ...] = (".filepart", ".part", ".partial", ".tmp")
    prefixes: tuple[str, ...] = (".in.",)

    def final(self, name: str) -> str | None:
        """The name without its decoration, or None when ``name`` is not a temporary one."""
        lower = name.lower()
        # The longest first: ".part" must not win over a configured ".csv.part".
        for suffix in sorted(self.suffixes, key=len, reverse=True):
            if lower.endswith(suffix.lower()) and len(name) > len(suffix):
                bare = name[: -len(suffix)]
                plain = _RCLONE.sub("", bare) if suffix.lower() == ".partial" else bare
                return plain or bare
        for prefix in sorted(self.prefixes, key=len, reverse=True):
            if lower.startswith(prefix.lower()) and len(name) > len(prefix):
                return name[len(prefix) :]
        return None


OFF = TemporaryNames((), ())
