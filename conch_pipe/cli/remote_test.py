"""``conch-pipe remote test`` and ``trust``: what connects to a remote, and how a host key comes to be trusted.

No key is trusted without a word: a yes, its fingerprint, or an option that says so.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli import asking, connecting, remote_shown
from conch_pipe.cli.edge import REFUSED, Command
from conch_pipe.cli.remote_shown import existing
from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.model import Remote, RemoteSecrets
    from conch_pipe.remotes.testing import Step

SHOWN = "whatever is shown"
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}


@click.command("test", cls=Command)
@click.argument("name")
@click.option(
    "--accept-host-key",
    "accept",
    is_flag=False,
    flag_value=SHOWN,
    metavar="[SHA256:…]",
    help="Trust the host key without a question, if none is trusted yet; with a fingerprint only that one.",
)
@click.pass_obj
def test_remote(session: Session, name: str, accept: str | None) -> None:
    """Try remote NAME step by step: address, connection, host key, login, folder, and a small file put there.

    At the first contact the host key is shown, and you are asked before anything is sent to log in: compare its
    fingerprint with what the customer told you. Exits with 1 unless every step went well.

    \b
    conch-pipe remote test acme-eu
    conch-pipe remote test acme-eu --accept-host-key SHA256:…
    """
    wanted = None if accept in (None, SHOWN) else _fingerprint(accept)
    found = existing(session, name)
    secrets = now(session.catalog.remotes.secrets(name))
    steps = _steps(session, found, secrets)
    blob = None if found.pins or found.any_host_key else _host_key(steps)
    _say(session, steps)
    pinned = blob is not None and _agreed(session, found, blob, accept, wanted)
    if pinned and blob is not None:
        found = now(session.catalog.remotes.trust(name, blob, "learnt"))
        session.out.say("the host key is trusted from now on")
        told, steps = steps, _steps(session, found, secrets)
        _say(session, steps, told)
    good = all(step.level in ("ok", "warn") for step in steps)
    session.out.document(
        {
            "remote": name,
            "ok": good,
            "host_key_trusted_now": pinned,
            "steps": [_document(step) for step in steps],
            "warnings": remote_shown.warnings(session, found),
        }
    )
    remote_shown.warn(session, found)
    if any(step.name == "host key" and step.level == "fail" for step in steps):
        session.out.say(f"if the customer has changed the key: conch-pipe remote trust {name}")
    if not good:
        click.get_current_context().exit(REFUSED)


@click.command("trust", cls=Command)
@click.argument("name")
@click.option("--fingerprint", metavar="SHA256:…", help="Trust exactly this key, without a question.")
@click.option(
    "--keep-old", is_flag=True, help="Go on trusting the old keys too: several servers, or a change under way."
)
@click.pass_obj
def trust_remote(session: Session, name: str, fingerprint: str | None, keep_old: bool) -> None:
    """Trust the host key that remote NAME shows now, in place of the old one.

    The key is the one that made the service disable the remote; else it is asked for, without logging in. Old and new
    fingerprints are shown: compare the new one with what the customer told you. Then the remote is enabled, and
    recordings that wait for it are tried at once.

    \b
    conch-pipe remote trust acme-eu
    conch-pipe remote trust acme-eu --fingerprint SHA256:…
    """
    from conch_pipe.model import Pin
    from conch_pipe.ssh.keys import fingerprint as fingerprint_of

    wanted = None if fingerprint is None else _fingerprint(fingerprint)
    found = existing(session, name)
    blob = _to_trust(session, found, wanted)
    shown = fingerprint_of(blob)
    kept = tuple(pin for pin in found.pins if keep_old or pin.blob == blob)
    known = blob in [pin.blob for pin in kept]
    if kept == found.pins and known and not found.any_host_key:
        raise PipeError(Code.CONFLICT, f"{shown} is trusted already; conch-pipe remote test {name} tells more")
    for pin in found.pins:
        until = "stays trusted" if pin in kept else "trusted until now"
        session.out.say(f"{until:<18} {remote_shown.key(pin.blob)}, {pin.origin} {pin.added_at:%Y-%m-%d}")
    if not known:
        session.out.say(f"{'shown instead':<18} {remote_shown.key(blob)}")
    asking.confirm(f"Trust {shown}? Compare it with what the customer told you.", wanted is not None, also=shown)
    if found.any_host_key:
        now(session.catalog.remotes.edit(name, {"any_host_key": False}))
    new = () if known else (Pin(blob, datetime.now(UTC), "trusted"),)
    changed = now(session.catalog.remotes.set_pins(name, (*kept, *new)))
    session.out.document(remote_shown.document(session, changed))
    session.out.say(f"remote {name} trusts {shown}")
    remote_shown.warn(session, changed)


def _to_trust(session: Session, found: Remote, wanted: str | None) -> bytes:
    """The key that disabled the remote, or the one it shows now; if one is wanted, that one.

    :raises PipeError: CONFLICT, it shows another one than is wanted; FAILED, none could be seen.
    """
    from conch_pipe.ssh.keys import fingerprint

    if found.refused_key is not None and wanted in (None, fingerprint(found.refused_key)):
        return found.refused_key
    blob = _look(session, found)
    if wanted not in (None, fingerprint(blob)):
        raise PipeError(Code.CONFLICT, f"{found.host} shows {fingerprint(blob)}, not {wanted}; nothing was changed")
    return blob


def _agreed(session: Session, found: Remote, blob: bytes, accept: str | None, wanted: str | None) -> bool:
    """Whether somebody has said that the key is the right one.

    :raises PipeError: CONFLICT, another one was expected.
    """
    from conch_pipe.ssh.keys import fingerprint

    shown = fingerprint(blob)
    if wanted is not None and shown != wanted:
        raise PipeError(Code.CONFLICT, f"{found.host} shows {shown}, not {wanted}; nothing was trusted")
    if accept is not None:
        return True
    if session.out.as_json:  # nobody reads a question
        return False
    asking.confirm(
        f"Is {shown} the key of {found.host}? Compare it with what the customer told you.", False, also=shown
    )
    return True


def _fingerprint(text: str) -> str:
    """:raises click.UsageError: it is none."""
    if not text.startswith("SHA256:") or len(text.rstrip("=")) != 50:
        raise click.UsageError("a fingerprint is SHA256: and 43 characters, as ssh-keygen -l prints it")
    return text.rstrip("=")


def _steps(session: Session, found: Remote, secrets: RemoteSecrets) -> list[Step]:
    from conch_pipe.remotes.testing import test

    return connecting.run(session.settings, lambda around: test(around, found, secrets))


def _look(session: Session, found: Remote) -> bytes:
    """The host key that is shown now; nothing about the user goes out.

    :raises PipeError: FAILED, none could be seen.
    """
    from conch_pipe.model import RemoteSecrets

    steps = _steps(session, replace(found, pins=(), any_host_key=False), RemoteSecrets())
    blob = _host_key(steps)
    if blob is None:
        words = next((step.words for step in steps if step.level == "fail"), "nothing was shown")
        raise PipeError(Code.FAILED, f"no host key could be seen: {words}")
    return blob


def _host_key(steps: list[Step]) -> bytes | None:
    return next((step.host_key for step in steps if step.host_key is not None), None)


def _say(session: Session, steps: list[Step], told: list[Step] | None = None) -> None:
    for step in steps:
        if step not in (told or []):
            level = click.style(f"{step.level:<5}", _COLOURS[step.level])
            status = f"{step.status.value} {step.reason}: " if step.status else ""
            session.out.say(f"{level} {step.name:<11} {status}{step.words}".rstrip())


def _document(step: Step) -> dict[str, Any]:
    from conch_pipe.ssh.keys import fingerprint

    return {
        "step": step.name,
        "level": step.level,
        "words": step.words,
        "status": step.status,
        "reason": step.reason,
        "host_key": fingerprint(step.host_key) if step.host_key else None,
    }
