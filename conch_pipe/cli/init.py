"""``conch-pipe init``: an installation that works, from nothing."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli import installation
from conch_pipe.cli.edge import Command
from conch_pipe.cli.session import Session
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.settings import Settings


@click.command(cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--demo", is_flag=True, help="Also make the organisation demo with every shipped schema and a credential."
)
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port to write into the settings; default 2222.")
@click.option("--interface", help="Address to write into the settings; default 0.0.0.0, all of them.")
@click.option(
    "--http-port",
    type=click.IntRange(-1, 65535),
    help="TCP port of HTTP, on 127.0.0.1, to write into the settings; default 8022; -1: there is no HTTP.",
)
@click.pass_obj
def init(
    session: Session, folder: Path, demo: bool, port: int | None, interface: str | None, http_port: int | None
) -> None:
    """Make an installation in DIR: settings, keys, schemas, folders and databases.

    What is there already stays as it is; a second run only adds what is missing. With --config FILE the settings are
    written there and name DIR as the state folder.

    \b
    conch-pipe init state --demo
    conch-pipe --config /etc/pipe-sftp/pipe-sftp.toml init /var/lib/pipe-sftp
    """
    folder = folder.absolute()
    file = Path(session.config).absolute() if session.config else folder / "pipe-sftp.toml"
    chosen: dict[str, dict[str, Any]] = {"ssh": {"interface": interface or "0.0.0.0", "port": 2222}}  # noqa: S104
    if port is not None:
        chosen["ssh"]["port"] = port
    chosen["http"] = {"port": 8022 if http_port is None else http_port}
    if file.parent != folder:
        chosen = {"service": {"state": folder}} | chosen
    with installation.only_ours():
        folder.mkdir(parents=True, exist_ok=True)
        asked = interface or any(one is not None for one in (port, http_port))
        if not installation.write_settings(file, chosen) and asked:
            raise PipeError(
                Code.CONFLICT, f"{file} is there already and stays as it is; change ports and interface there"
            )
        session.config = str(file)
        settings = session.settings
        if settings.service.state != folder:
            raise PipeError(Code.CONFLICT, f"{file} names another state folder, {settings.service.state}")
        keys = installation.host_keys(settings)
        installation.sealing_key(settings)
        shipped = installation.copy_schemas(settings.schemas.folder)
        installation.make_folders(settings)
        session.open_catalog()
        login = None
        if demo:
            installation.demo_organisation(session, shipped)
            login = installation.demo_login(session)
    session.out.document(
        {
            "config": file,
            "ssh_port": settings.ssh.port,
            "http_port": settings.http.port,
            "host_keys": keys,
            "organisation": login.organisation if login else None,
            "client_id": login.client_id if login else None,
            "client_secret": login.client_secret if login else None,
        }
    )
    me = shlex.join([_program(), "--config", str(file)])
    facts: list[tuple[str, Any]] = [("settings", file), ("state", folder)]
    facts += [("host key", f"{key.fingerprint}  {key.name}") for key in keys]
    if login:
        again = f"was shown when it was made; a new one: {me} credential rotate {login.client_id}"
        facts += [("organisation", login.organisation), ("client_id", login.client_id)]
        facts += [("client_secret", login.client_secret or again)]
    session.out.facts(facts)
    session.out.say()
    if login:
        if login.client_secret:
            session.out.say("The secret is shown this once; only its hash is kept. While the service runs:")
        session.out.say(f"    sftp -P {settings.ssh.port or 'PORT'} {login.client_id}@127.0.0.1")
        session.out.say(f"    {me} demo")
        if settings.http.on:
            session.out.say(f"    {_http(settings, me)}")
            session.out.say(f"    {me} person add NAME      (lets somebody sign in to the dashboard)")
    else:
        session.out.say(f"next: {me} org create NAME, then credential create NAME")
        if settings.http.on:
            session.out.say(f"to let somebody sign in to the dashboard: {me} person add NAME")
        session.out.say(f"start it: twistd -n pipe-sftp --config {shlex.quote(str(file))}")


def _http(settings: Settings, me: str) -> str:
    """Where HTTP is, or how to ask for it."""
    http = settings.http
    if not http.port or http.endpoint:
        return f"{me} status      (http_url: the dashboard, the Upload API)"
    host = "127.0.0.1" if http.interface == "0.0.0.0" else http.interface  # noqa: S104
    return f"{'https' if http.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{http.port}/"


def _program() -> str:
    """What to type to run this command again: its path, when the shell would not find it."""
    return "conch-pipe" if shutil.which("conch-pipe") == sys.argv[0] else sys.argv[0]
