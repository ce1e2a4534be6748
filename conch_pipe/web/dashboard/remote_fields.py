"""The form of a remote on a page: from a stored remote to its fields, from what was filled in to what is judged.

What a field may hold is decided where all forms of a remote are judged; here it is only carried there and back. Secrets
go in and never come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conch_pipe.model import Remote
from conch_pipe.ssh.keys import KINDS
from conch_pipe.ssh.transport.algorithms import CLIENT
from conch_pipe.web.dashboard.forms import Filled

TEXTS = (
    "host",
    "port",
    "username",
    "folder",
    "max_connections",
    "source_address",
    "algorithms",
    "marker",
    "chunk_size",
)
NEEDED = ("organisation", "name", "host", "username")  # sent also when they are empty: so it is told
EMPTIED = ("folder", "source_address", "marker")  # empty is a value
TICKS = ("temporary_names", "any_host_key", "no_password", "no_key")
PRESETS = tuple(CLIENT)
KEYS = tuple(KINDS)


def values(remote: Remote | None) -> dict[str, str]:
    """What the fields hold at first. :param remote: None: a new one."""
    if remote is None:
        return {"port": "22", "max_connections": "25", "algorithms": PRESETS[0], "chunk_size": "0"}
    found = {name: str(getattr(remote, name)) for name in TEXTS}
    found |= {name: "yes" for name in ("temporary_names", "any_host_key") if getattr(remote, name)}
    return found


def repeated(form: Filled) -> dict[str, str]:
    """What was filled in, to be mended; without secrets."""
    names = ("organisation", "name", *TEXTS, *TICKS, "host_keys", "generate_key")
    return {name: form.exact(name) if name == "username" else form.get(name) for name in names}


def taken(form: Filled, remote: Remote | None) -> dict[str, Any]:
    """For ``operations.remotes.fill``: only what is to be judged."""
    found: dict[str, Any] = {}
    for name in TEXTS if remote is not None else ("organisation", "name", *TEXTS):
        text = form.exact(name) if name == "username" else form.get(name)
        if text or name in EMPTIED:
            found[name] = text
        elif name in NEEDED:
            found[name] = "" if remote is not None else None
    found["temporary_names"] = form.has("temporary_names")
    if remote is None or form.has("any_host_key") != remote.any_host_key:
        found["any_host_key"] = form.has("any_host_key") or (None if remote is None else False)
    if form.exact("password"):
        found["password"] = form.exact("password")
    elif remote is not None and form.has("no_password"):
        found["password"] = None
    if form.get("private_key"):
        found["private_key"] = form.exact("private_key")
    elif remote is not None and form.has("no_key"):
        found["private_key"] = None
    if form.exact("passphrase"):
        found["passphrase"] = form.exact("passphrase")
    if form.get("generate_key"):
        found["generate_key"] = form.get("generate_key")
    if form.get("host_keys"):
        found["host_keys"] = [form.get("host_keys")]
    return found


def doubts(form: Filled) -> list[str]:
    """What contradicts itself on a page."""
    found = []
    if form.exact("password") and form.has("no_password"):
        found.append("password: a new one, and none at all, exclude each other")
    if (form.get("private_key") or form.get("generate_key")) and form.has("no_key"):
        found.append("private_key: a new one, and none at all, exclude each other")
    if form.get("generate_key") not in ("", *KEYS):
        found.append("generate_key: there is no such kind")
    return found


def placed(mistakes: Sequence[str], fields: Mapping[str, str]) -> dict[str, str]:
    """Field → what is wrong with it; under "" what belongs to none of them.

    :param fields: name in a mistake → name on the page.
    """
    found: dict[str, str] = {}
    for one in mistakes:
        name, colon, words = one.partition(": ")
        field = fields.get(name.partition(".")[0], "") if colon else ""
        words = words if field else one
        found[field] = f"{found[field]}; {words}" if field in found else words
    return found


FIELDS = {
    name: name
    for name in ("organisation", "name", *TEXTS, "temporary_names", "password", "private_key", "passphrase")
    + ("generate_key", "host_keys", "any_host_key")
}
