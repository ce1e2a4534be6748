"""The rules of the form that describes a remote: what each field may hold, every mistake told at once.

Pure: looks at text and numbers, resolves no name, opens nothing. Shared by the command line and whatever else has such
a form. Mistakes name the field and the rule and never repeat what was filled in: a secret may be in the wrong field.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from conch_pipe.model.remotes import LONGEST
from conch_pipe.ssh.client.limits import ClientLimits
from conch_pipe.ssh.transport.algorithms import CLIENT

MOST_CONNECTIONS = 100
CHUNKS = range(1_024, ClientLimits().largest_write + 1)
ANY_HOST_KEY = "yes-i-know"  # the word that takes whatever host key is shown
NO_LOGIN = "a password, a private key or both are needed to log in"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_LIKE_A_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")  # resolvers take 127.1 and 0x7f000001 for addresses
_OURS = re.compile(r"\.(mp4|jpg|part)\Z|_raw\.[^.]*\Z", re.IGNORECASE)  # the ends of the names of a group's files
_NOWHERE = tuple(ipaddress.IPv4Network(one) for one in ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"))
_UNSEEN = {"Cc": "control characters", "Cs": "half characters", "Zl": "line separators", "Zp": "line separators"}


class Wrong(ValueError):
    """A field breaks a rule; the text says which, without the field's name and value."""


def read(
    fields: Mapping[str, object], *, new: bool, ours: Callable[[str], bool] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Judge a form.

    :param fields: what was filled in, text or JSON's own types, by the names of ``model.Remote`` and ``password``;
        None: not filled in.
    :param new: a remote that is not there yet: name, organisation, host and user name must be filled in.
    :param ours: whether an IPv4 address is one of this machine; without it nobody looks.
    :returns: the good values, as the model wants them, and one sentence for each mistake, in the order of the form.
    """
    values: dict[str, Any] = {}
    mistakes = [f"{name}: there is no such field" for name in fields if name not in RULES]
    for name, rule in RULES.items():
        given = fields.get(name)
        try:
            if given is not None:
                values[name] = rule(given)
            elif new and name in _NEEDED:
                raise Wrong("is missing")
        except Wrong as wrong:
            mistakes.append(f"{name}: {wrong}")
    address = values.get("source_address")
    if address and ours is not None and not ours(address):
        mistakes.append("source_address: is not an address of this machine")
    return values, mistakes


def name(given: object) -> str:
    """A remote's or an organisation's. :raises Wrong: it is none."""
    if not isinstance(given, str) or not _NAME.match(given):
        raise Wrong("1 to 63 of a-z, 0-9 and -, and no - at the beginning")
    return given


def host(given: object) -> str:
    """An IPv4 address or a domain name, in lower case, names of other scripts as punycode.

    :raises Wrong: it is neither, or more than it should be.
    """
    text = _text(given).strip()
    if not text:
        raise Wrong("is missing")
    if len(text) > LONGEST:
        raise Wrong(f"at most {LONGEST} characters")
    if "://" in text:
        raise Wrong("without sftp:// or the like, the name or address alone")
    if _is_ipv6(text):
        raise Wrong("IPv6 is not supported: an IPv4 address or a domain name")
    for mark, field in (("@", "user name"), ("/", "folder"), (":", "port")):
        if mark in text:
            raise Wrong(f"the {field} has a field of its own")
    return _domain(text) if text.isascii() else _domain(_punycode(text))


def port(given: object) -> int:
    """:raises Wrong: it is not 1 to 65535."""
    return _number(given, range(1, 65_536))


def username(given: object) -> str:
    """As it was typed: case-sensitive, blanks and all. :raises Wrong: empty, too long, control characters."""
    text = _short(given)
    if not text:
        raise Wrong("is missing")
    return text


def password(given: object) -> str:
    """As it was typed. :raises Wrong: empty, too long, control characters."""
    text = _short(given)
    if not text:
        raise Wrong("is empty")
    return text


def folder(given: object) -> str:
    """A path on the remote without empty parts; relative to the login folder unless it begins with a slash.

    :raises Wrong: too long, control characters, ``..`` in it.
    """
    text = _short(given)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Wrong("no .. in it")
    if parts[:1] == ["~"] and not text.startswith("/"):
        raise Wrong("~ means nothing here; a folder that does not begin with / is looked for in the login folder")
    return ("/" if text.startswith("/") else "") + "/".join(parts)


def max_connections(given: object) -> int:
    """:raises Wrong: it is not 1 to 100."""
    return _number(given, range(1, MOST_CONNECTIONS + 1))


def source_address(given: object) -> str:
    """An IPv4 address one can bind; empty: the system's choice. :raises Wrong: it is neither."""
    text = _text(given).strip()
    if not text:
        return ""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise Wrong("an IPv4 address of this machine, or empty") from error
    if any(address in network for network in _NOWHERE):
        raise Wrong("nobody can have this address")
    return str(address)


def algorithms(given: object) -> str:
    """The name of a preset for outbound connections. :raises Wrong: there is none such."""
    if not isinstance(given, str) or given not in CLIENT:
        raise Wrong(f"one of {', '.join(CLIENT)}")
    return given


def temporary_names(given: object) -> bool:
    """:raises Wrong: it is not true or false."""
    if not isinstance(given, bool):
        raise Wrong("true or false")
    return given


def marker(given: object) -> str:
    """A file name, in which {NAME} stands for the recording's; empty: no marker file.

    :raises Wrong: it is no file name, or could be that of a file of a recording, which an empty file would replace.
    """
    text = _short(given)
    rest = text.replace("{NAME}", "")
    if "/" in text or text in (".", ".."):
        raise Wrong("a file name without a folder")
    if "{" in rest or "}" in rest:
        raise Wrong("{NAME} is all that braces can stand for")
    if _OURS.search(text) or (text and not rest):
        raise Wrong("a recording could have a file of that name; another ending, {NAME}.done for one")
    return text


def chunk_size(given: object) -> int:
    """Bytes of one WRITE; 0: what the server says. :raises Wrong: it is neither."""
    if given in (0, "0") and not isinstance(given, bool):
        return 0
    return _number(given, CHUNKS, "0 or ")


# In the order of the form.
RULES: Mapping[str, Callable[[object], Any]] = {
    "organisation": name,
    "name": name,
    "host": host,
    "port": port,
    "username": username,
    "password": password,
    "folder": folder,
    "max_connections": max_connections,
    "source_address": source_address,
    "algorithms": algorithms,
    "temporary_names": temporary_names,
    "marker": marker,
    "chunk_size": chunk_size,
}
_NEEDED = {"organisation", "name", "host", "username"}


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise Wrong("text")
    for one in given:
        if (kind := _UNSEEN.get(unicodedata.category(one))) is not None:
            raise Wrong(f"no {kind} in it")
    return given


def _short(given: object) -> str:
    text = _text(given)
    if len(text) > LONGEST:
        raise Wrong(f"at most {LONGEST} characters")
    return text


def _number(given: object, among: range, also: str = "") -> int:
    if isinstance(given, str) and _NUMBER.match(given.strip()):
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or given not in among:
        raise Wrong(f"{also}a number from {among.start} to {among.stop - 1}")
    return given


def _is_ipv6(text: str) -> bool:
    inside = text.partition("[")[2].partition("]")[0] if text.startswith("[") else text
    try:
        ipaddress.IPv6Address(inside)
    except ValueError:
        return False
    return True


def _punycode(text: str) -> str:
    import idna  # its tables take a while to load, and few names need them

    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise Wrong("not a domain name") from error


def _domain(text: str) -> str:
    text = text.lower().removesuffix(".")
    if len(text) > LONGEST:
        raise Wrong(f"at most {LONGEST} characters as punycode")
    labels = text.split(".")
    if _LIKE_A_NUMBER.match(labels[-1]):
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError as error:
            raise Wrong("neither an IPv4 address nor a domain name") from error
        if any(address in network for network in _NOWHERE):
            raise Wrong("no server can have this address")
        return text
    if not all(_LABEL.match(label) for label in labels):
        raise Wrong("neither an IPv4 address nor a domain name")
    return text
