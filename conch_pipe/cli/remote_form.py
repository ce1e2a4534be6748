"""The form of a remote on the command line: options, keys and secrets from their files, questions at a terminal.

Decides nothing about what is filled in: see ``operations.remote_form``. Does not touch the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from conch_pipe.cli import asking

if TYPE_CHECKING:
    from conch_pipe.operations.remote_form import Filled
    from conch_pipe.ssh.keys import PrivateKey

F = TypeVar("F", bound=Callable[..., Any])
LARGEST_KEY = 1_048_576  # bytes read of a key file; those that are larger than a key are refused by name
NO = "no"
KINDS = ("rsa-4096", "ed25519")
_FILE = click.Path(dir_okay=False, path_type=Path)

# Values stay text until the rules of the form judge them, together with all others.
_FIELDS: tuple[tuple[str, str], ...] = (
    ("--host", "IPv4 address or domain name."),
    ("--port", "1 to 65535; 22 when not given."),
    ("--username", "As the server knows it; case-sensitive."),
    ("--folder", "Must exist; looked for in the login folder unless it begins with /; empty: the login folder."),
    ("--max-connections", "Connections at a time, 1 to 100; 25 when not given."),
    ("--source-address", "IPv4 address of this machine to connect from; empty: the system's choice."),
    ("--algorithms", "Preset: default-2026, strict-2026 or legacy-2026."),
    ("--marker", "Name of an empty file put after each whole group, such as {NAME}.done; empty: none."),
    ("--chunk-size", "Bytes of one WRITE, for servers that need it so; 0: what the server says."),
)
_SECRETS = (
    click.option("--password-stdin", is_flag=True, help="Read the password from standard input, or ask for it."),
    click.option("--password-file", type=_FILE, metavar="FILE", help="Read the password from a file."),
    click.option(
        "--key-file",
        type=_FILE,
        metavar="FILE",
        help="Private key: OpenSSH, PEM, PKCS#8, PuTTY (.ppk) or ssh.com.",
    ),
    click.option("--passphrase-stdin", is_flag=True, help="Read the key's passphrase from standard input, or ask."),
    click.option("--passphrase-file", type=_FILE, metavar="FILE", help="Read the key's passphrase from a file."),
    click.option("--generate-key", type=click.Choice(KINDS), help="Make a new key and print its public half."),
)
_HOST_KEYS = (
    click.option(
        "--host-key",
        "host_keys",
        multiple=True,
        metavar="TEXT|FILE",
        help="The server's public host key, as text or in a file; may be repeated. It alone is trusted.",
    ),
    click.option(
        "--any-host-key",
        metavar="WORD",
        help="Take whatever host key is shown: INSECURE, whoever answers gets the password. The word is yes-i-know; "
        '"no" ends it.',
    ),
)
_NAMES = click.option(
    "--temporary-names/--final-names",
    default=None,
    help="Send under a temporary name and rename; or, unless chosen, under the final name.",
)


def options(command: F) -> F:
    """All options of the form."""
    fields = [click.option(name, metavar="VALUE", help=words) for name, words in _FIELDS]
    for option in reversed([*fields, _NAMES, *_SECRETS, *_HOST_KEYS]):
        command = option(command)
    return command


def fill(given: Mapping[str, Any], *, new: bool) -> Filled:
    """Read and judge everything that was given.

    :param given: the values of the :func:`options`, and the arguments ``organisation`` and ``name`` of a new remote.
    :param new: it is not there yet: what is needed must be there, and somebody at a terminal is asked for a password.
    :raises Mistakes: all of them.
    :raises click.UsageError: two options that exclude each other.
    """
    from conch_pipe.operations.remote_form import Form

    _exclude(given)
    mistakes: list[str] = []
    names = ["organisation", "name"] if new else []
    names += [*(option[2:].replace("-", "_") for option, _ in _FIELDS), "temporary_names"]
    fields: dict[str, Any] = {name: given[name] for name in names if given.get(name) is not None}
    password = _secret(given, "password", "Password", mistakes)
    lets_in = any(given[name] for name in ("password_stdin", "password_file", "key_file", "generate_key"))
    if new and not lets_in and asking.terminal():
        password = asking.hidden("Password (empty: there is none)") or None
    if password is not None:
        fields["password"] = password
    form = Form(new=new, mistakes=mistakes, lets_in=lets_in)
    form.fill(fields)
    if given["generate_key"]:
        form.generate(given["generate_key"])
    elif (key := _key(given, form.mistakes)) is not None:
        form.take_key(key)
    form.needs_login()
    for text in given["host_keys"]:
        form.host_keys(_host_key(text, form.mistakes))
    if (taken := _any(given["any_host_key"], form.mistakes)) is not None:
        form.any_host_key(taken)
    for what in ("password", "key"):
        if given.get(f"no_{what}"):
            form.without(what)
    return form.filled(f"remote {given['name']}", any_host_key="any-host-key")


def _exclude(given: Mapping[str, Any]) -> None:
    for one, other in (
        ("password_stdin", "password_file"),
        ("passphrase_stdin", "passphrase_file"),
        ("password_stdin", "passphrase_stdin"),
        ("generate_key", "key_file"),
    ):
        if given[one] and given[other] and not (one == "password_stdin" and asking.terminal()):
            options = [f"--{name.replace('_', '-')}" for name in (one, other)]
            raise click.UsageError(f"{' and '.join(options)} exclude each other")


def _secret(given: Mapping[str, Any], name: str, question: str, mistakes: list[str]) -> str | None:
    file = given[f"{name}_file"]
    try:
        return asking.secret(question, given[f"{name}_stdin"], file)
    except OSError as error:
        mistakes.append(f"{name}: {file}: {error.strerror}")
    except ValueError as error:
        mistakes.append(f"{name}: {error}")
    return None


def _key(given: Mapping[str, Any], mistakes: list[str]) -> PrivateKey | None:
    from conch_pipe.ssh.keys import KeyRefused, read

    file = given["key_file"]
    if file is None:
        if given["passphrase_stdin"] or given["passphrase_file"]:
            mistakes.append("passphrase: there is no key that it could open")
        return None
    before = len(mistakes)
    passphrase = _secret(given, "passphrase", "Passphrase of the key", mistakes)
    try:
        data = _contents(file)
        try:
            return read(data, _bytes(passphrase))
        except KeyRefused as refused:
            if refused.reason != "passphrase_missing" or len(mistakes) > before or not asking.terminal():
                raise
            return read(data, _bytes(asking.hidden("Passphrase of the key")))
    except OSError as error:
        mistakes.append(f"key: {file}: {error.strerror}")
    except KeyRefused as refused:
        if len(mistakes) == before:
            hint = (
                "; --passphrase-stdin or --passphrase-file gives it" if refused.reason == "passphrase_missing" else ""
            )
            mistakes.append(f"key: {file}: {refused}{hint}")
    return None


def _bytes(passphrase: str | None) -> bytes | None:
    return None if passphrase is None else passphrase.encode()


def _contents(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST_KEY)


def _host_key(text: str, mistakes: list[str]) -> list[bytes]:
    """The keys of a text, or of the file it names; a file may hold several, as ssh-keyscan prints them."""
    from conch_pipe.operations.remote_form import blobs
    from conch_pipe.ssh.keys import KeyRefused

    where = "host-key"
    try:
        if _is_file(text):
            where = f"host-key: {text}"
            return blobs(_contents(Path(text)))
        return blobs(text)
    except OSError as error:
        mistakes.append(f"{where}: {error.strerror}")
    except KeyRefused as refused:
        hint = "; conch-pipe remote test --accept-host-key compares and pins it" * (refused.reason == "fingerprint")
        mistakes.append(f"{where}: {refused}{hint}")
    return []


def _is_file(text: str) -> bool:
    """Also a pipe, as ``<(ssh-keyscan …)`` makes one."""
    try:
        return not any(one.isspace() for one in text) and Path(text).exists() and not Path(text).is_dir()
    except (OSError, ValueError):  # too long for a name, or a zero in it
        return False


def _any(word: str | None, mistakes: list[str]) -> bool | None:
    from conch_pipe.remotes.form import ANY_HOST_KEY

    if word is None:
        return None
    if word not in (ANY_HOST_KEY, NO):
        mistakes.append(f"any-host-key: the word is {ANY_HOST_KEY}: whoever answers at that address gets the password")
    return word == ANY_HOST_KEY
