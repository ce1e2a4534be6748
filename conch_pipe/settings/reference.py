"""The settings as TOML text for people: the commented reference of all, and the short file ``init`` writes.

``etc/pipe-sftp.toml`` is what ``reference()`` returns; a test keeps them equal.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conch_pipe.settings.sections import Section, Settings

WIDTH = 100

HEAD = """\
# All settings of pipe-sftp with their defaults. A line without the # in front chooses.
#
# Looked for in this order: --config FILE, $PIPE_SFTP_CONFIG, ./pipe-sftp.toml, ./state/pipe-sftp.toml,
# /etc/pipe-sftp/pipe-sftp.toml. Any setting can come from the environment as PIPE_SFTP_SECTION__NAME
# (PIPE_SFTP_SSH__PORT=0) or from a systemd credential of that name; the environment wins, then the credential.
# Lists in the environment are words with commas between them.
# Names end with their unit: _s seconds, _bytes bytes. Bytes may be written as "100 MB" (powers of 1000) or
# "2 MiB" (powers of 1024).
"""


def reference() -> str:
    """Every section and setting, its sentence and its default, commented out."""
    parts = [HEAD]
    defaults = Settings()
    for name in Settings.model_fields:
        section: Section = getattr(defaults, name)
        parts.append(f"\n\n# {type(section).__doc__}\n[{name}]\n")
        for setting, field in type(section).model_fields.items():
            comment = textwrap.fill(
                field.description or "",
                WIDTH,
                initial_indent="# ",
                subsequent_indent="# ",
                break_on_hyphens=False,
                break_long_words=False,
            )
            parts.append(f"\n{comment}\n#{setting} = {toml(getattr(section, setting))}\n")
    return "".join(parts)


def short_file(chosen: Mapping[str, Mapping[str, Any]]) -> str:
    """A file with these settings only.

    :param chosen: section → name → value.
    """
    lines = [
        "# Settings of pipe-sftp: only what differs from the defaults, or is likely to.",
        "# All of them, with defaults and units: conch-pipe settings --reference",
    ]
    for section, values in chosen.items():
        lines += ["", f"[{section}]", *(f"{name} = {toml(value)}" for name, value in values.items())]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A value as TOML; strings as basic strings, whose escapes are those of JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    if isinstance(value, (str, Path)):
        # JSON leaves DEL as it is, TOML wants it escaped.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)
