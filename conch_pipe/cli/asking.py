"""Asking whoever types: what must not be seen while it is typed, and yes or no. Questions go to standard error.

Nothing secret is ever taken from the command line, where every user of the machine could read it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from conch_pipe.errors import Code, PipeError

LONGEST = 4_096  # bytes of a file that holds one password or passphrase


def terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def confirm(question: str, yes: bool, *, also: str = "") -> None:
    """Go on only after a yes, which a script gives with an option or on standard input.

    :param also: an answer that is as good as yes: a fingerprint that somebody was told by another way.
    :raises PipeError: INVALID, it was not given.
    """
    if yes:
        return
    click.echo(f"{question} [yes/no{'/fingerprint' if also else ''}] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    if answer.strip().lower() not in ("y", "yes") and (not also or answer.strip() != also):
        raise PipeError(Code.INVALID, "not confirmed, nothing was changed")


def hidden(question: str) -> str:
    """What is typed at the terminal, unseen; may be empty."""
    answer: str = click.prompt(question, default="", show_default=False, hide_input=True, err=True)
    return answer


def secret(question: str, from_stdin: bool, file: Path | None) -> str | None:
    """A password or passphrase from one of its two places, without the line end after it.

    :param question: asked when standard input is a terminal: there it would be seen.
    :returns: None when neither place was named.
    :raises ValueError: it is no text, or more than one could be.
    :raises OSError: the file cannot be read.
    """
    if file is not None:
        with file.open("rb") as opened:
            data = opened.read(LONGEST + 1)
    elif from_stdin and terminal():
        return hidden(question)
    elif from_stdin:
        data = sys.stdin.buffer.read(LONGEST + 1)
    else:
        return None
    if len(data) > LONGEST:
        raise ValueError("is too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
