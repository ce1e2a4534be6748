"""Settings from outside the file: variables and systemd credentials that carry our prefix.

pydantic-settings reads their values; here is which there are, and which of them name no setting.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from conch_pipe.settings.sections import Settings

PREFIX = "PIPE_SFTP_"
SEALING_KEY = "pipe-sftp-secrets-key"  # the credential that stands in for secrets.key_file


def names() -> dict[str, list[str]]:
    """Section → its settings."""
    defaults = Settings()
    return {name: list(type(getattr(defaults, name)).model_fields) for name in Settings.model_fields}


def credentials() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder and Path(folder).is_dir() else None


def _given(kind: str) -> list[str]:
    """Names beginning with our prefix: of variables ("environment") or of credential files ("credential")."""
    if kind == "environment":
        names = list(os.environ)
    else:
        folder = credentials()
        names = [path.name for path in folder.iterdir()] if folder else []
    return sorted(name for name in names if name.upper().startswith(PREFIX))


def origin(section: str, name: str) -> str:
    """The variable or credential that sets this, or an empty string."""
    wanted = f"{PREFIX}{section}__{name}".upper() if name else f"{PREFIX}{section}".upper()
    for kind in ("environment", "credential"):
        for given in _given(kind):
            if given.upper() == wanted:
                return f"{kind} {given}"
    if (section, name) == ("ssh", "host_keys") and (folder := credentials()) and any(folder.glob("ssh_host_*_key")):
        return "credential ssh_host_*_key"
    if (section, name) == ("secrets", "key_file") and (folder := credentials()) and (folder / SEALING_KEY).is_file():
        return f"credential {SEALING_KEY}"
    return ""


def strangers() -> list[str]:
    """Variables and credentials that look like ours and name no setting.

    Only those with two underscores: Kubernetes gives every container PIPE_SFTP_SERVICE_HOST and the like when a
    service is called pipe-sftp. A known setting written with one underscore is told all the same.
    """
    known = names()
    flat = {f"{section}_{name}": (section, name) for section, fields in known.items() for name in fields}
    mistakes = []
    for kind in ("environment", "credential"):
        for given in _given(kind):
            rest = given[len(PREFIX) :].lower()
            section, two, name = rest.partition("__")
            if rest in flat:
                section, name = flat[rest]
                mistakes.append(f"{kind} {given}: write two underscores, {PREFIX}{section.upper()}__{name.upper()}")
            elif two and section not in known:
                mistakes.append(f"{kind} {given}: no such section{close(section, list(known))}")
    return mistakes


def close(word: str, words: list[str]) -> str:
    matches = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {matches[0]}?" if matches else ""
