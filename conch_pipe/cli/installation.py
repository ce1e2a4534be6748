"""What ``init`` makes: settings, host keys, the sealing key, schemas, folders, databases, and the demo organisation.

Everything that is there already stays as it is, so that a second run repairs and never harms. Prints nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.settings import Settings

DEMO = "demo"
LABEL = "demo"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host key as people compare it."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Login:
    """A credential; the secret only when it was made just now."""

    organisation: str
    client_id: str
    client_secret: str | None


@contextmanager
def only_ours() -> Iterator[None]:
    """Files made meanwhile are nobody else's to read."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_settings(file: Path, chosen: dict[str, dict[str, Any]]) -> bool:
    """Write a settings file unless there is one. :returns: True when it was written."""
    from conch_pipe.settings import short_file

    if file.exists():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(short_file(chosen), "utf-8")
    fresh.replace(file)
    return True


def host_keys(settings: Settings) -> list[HostKey]:
    """The host keys, made when missing: RSA where the file's name says so, else Ed25519.

    :raises PipeError: FAILED, a key cannot be made or used.
    """
    from conch_pipe.ssh.server.hostkeys import HostKeyError, fingerprint, generate, load

    found = []
    for path in settings.ssh.host_keys:
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                generate(path, "rsa" if "rsa" in path.name else "ed25519")
            found.append(HostKey(path.name, fingerprint(load(path))))
        except HostKeyError as error:
            raise PipeError(Code.FAILED, str(error)) from error
    return found


def sealing_key(settings: Settings) -> bool:
    """The key that seals what opens remotes, made when there is none. :returns: True when it was made.

    :raises PipeError: FAILED, it cannot be made or used.
    """
    from conch_pipe.catalog import KeyFile

    keys = KeyFile(settings.secrets.key_file)
    made = keys.make()
    keys.check()
    return made


def copy_schemas(folder: Path) -> list[str]:
    """Copy the shipped schemas that are not there yet. :returns: names of all that are shipped."""
    from conch_pipe.formats.schema import shipped

    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for source in sorted(shipped().glob("*.toml")):
        names.append(source.stem)
        if not (folder / source.name).exists():
            shutil.copyfile(source, folder / source.name)
    return names


def make_folders(settings: Settings) -> None:
    """The folders the service writes to."""
    from conch_pipe.settings import local_path

    for folder in (settings.spool.folder, settings.push.spool):
        folder.mkdir(parents=True, exist_ok=True)
    for url in (settings.catalog.url, settings.warehouse.url):
        if (path := local_path(url)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if (path := local_path(settings.objects.url)) is not None:
        path.mkdir(parents=True, exist_ok=True)


def demo_organisation(session: Session, schemas: list[str]) -> None:
    """The demo organisation with these schemas, made or mended when needed."""
    catalog = session.catalog
    if now(catalog.organisations.get(DEMO)) is None:
        now(catalog.organisations.create(DEMO, "Demo organisation"))
    for schema in schemas:
        now(catalog.organisations.enable_schema(DEMO, schema))


def demo_login(session: Session) -> Login:
    """The credential of the demo organisation; made when there is none that works."""
    for known in now(session.catalog.credentials.list(DEMO)):
        if known.label == LABEL and known.revoked_at is None:
            return Login(DEMO, known.client_id, None)
    made, secret = now(session.catalog.credentials.create(DEMO, LABEL))
    return Login(DEMO, made.client_id, secret)
