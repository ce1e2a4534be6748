"""``conch-pipe remote test`` and ``trust``: what connects to a remote, and how a host key comes to be trusted.

No key is trusted without a word: a yes, its fingerprint, or an option that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from conch_pipe.cli import asking, connecting, remote_shown
from conch_pipe.cli.edge import REFUSED, Command
from conch_pipe.cli.remote_shown import existing
from conch_pipe.cli.session import Session, now
from conch_pipe.errors import Code, PipeError

if TYPE_CHECKING:
    from conch_pipe.model import Remote
    from conch_pipe.operations.remotes import Trial
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
    trial = _tried(session, name)
    found, steps = trial.remote, trial.steps
    blob = None if found.pins or found.any_host_key else trial.host_key
    _say(session, steps)
    pinned = blob is not None and _agreed(session, found, blob, accept, wanted)
    if pinned and blob is not None:
        now(session.operations.remotes.learn(name, blob))
        session.out.say("the host key is trusted from now on")
        told, trial = steps, _tried(session, name)
        found, steps = trial.remote, trial.steps
        _say(session, steps, told)
    session.out.document(
        {
            "remote": name,
            "ok": trial.well,
            "host_key_trusted_now": pinned,
            "steps": [_document(step) for step in steps],
            "warnings": remote_shown.warnings(session, found),
        }
    )
    remote_shown.warn(session, found)
    if any(step.name == "host key" and step.level == "fail" for step in steps):
        session.out.say(f"if the customer has changed the key: conch-pipe remote trust {name}")
    if not trial.well:
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
    from conch_pipe.ssh.keys import fingerprint as fingerprint_of

    wanted = None if fingerprint is None else _fingerprint(fingerprint)
    found = existing(session, name)
    blob = _to_trust(session, found, wanted)
    shown = fingerprint_of(blob)
    pins = session.operations.remotes.trusting(found, blob, keep_old=keep_old)
    if pins is None:
        raise PipeError(Code.CONFLICT, f"{shown} is trusted already; conch-pipe remote test {name} tells more")
    for pin in found.pins:
        until = "stays trusted" if pin in pins else "trusted until now"
        session.out.say(f"{until:<18} {remote_shown.key(pin.blob)}, {pin.origin} {pin.added_at:%Y-%m-%d}")
    if blob not in [pin.blob for pin in found.pins]:
        session.out.say(f"{'shown instead':<18} {remote_shown.key(blob)}")
    asking.confirm(f"Trust {shown}? Compare it with what the customer told you.", wanted is not None, also=shown)
    changed = now(session.operations.remotes.trust(name, blob, keep_old=keep_old))
    session.out.document(remote_shown.document(session, changed))
    session.out.say(f"remote {name} trusts {shown}")
    remote_shown.warn(session, changed)


def _to_trust(session: Session, found: Remote, wanted: str | None) -> bytes:
    """The key that disabled the remote, or the one it shows now; if one is wanted, that one.

    :raises PipeError: CONFLICT, it shows another one than is wanted; FAILED, none could be seen.
    """
    from conch_pipe.ssh.keys import fingerprint

    blob, words = connecting.run(session, lambda operations: operations.remotes.host_key(found.name, wanted))
    if blob is None:
        raise PipeError(Code.FAILED, words)
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


def _tried(session: Session, name: str) -> Trial:
    return connecting.run(session, lambda operations: operations.remotes.test(name))


def _say(session: Session, steps: Sequence[Step], told: Sequence[Step] = ()) -> None:
    for step in steps:
        if step not in told:
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
