"""The edge of the command: options every command has, exit codes, and one place that turns errors into words.

Does not know what any command does.
"""

from __future__ import annotations

import errno
from typing import Any

import click

from conch_pipe.cli.output import Output
from conch_pipe.cli.session import Session, SettingsRefused
from conch_pipe.errors import Code, Mistakes, PipeError

OK, REFUSED, USAGE, NOT_FOUND, BUSY, SETTINGS = range(6)
EXITS = (
    "Exit codes: 0 ok; 1 refused or failed; 2 wrong usage; 3 not found; 4 busy or not running, try again; 5 settings. "
    'With --json one document goes to stdout; a failure is {"error": {"code", "message"}} with the same exit code.'
)
_CODES = {Code.NOT_FOUND: NOT_FOUND, Code.BUSY: BUSY}


def _take_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).out.as_json = True


def _take_config(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        context.ensure_object(Session).config = value


def _shared() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"],
            metavar="FILE",
            expose_value=False,
            callback=_take_config,
            help="The settings file; else $PIPE_SFTP_CONFIG, ./pipe-sftp.toml, ./state/pipe-sftp.toml, "
            "/etc/pipe-sftp/pipe-sftp.toml.",
        ),
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_take_json,
            help="Print one JSON document.",
        ),
    ]


class Command(click.Command):
    """A command with --config and --json, and the exit codes at the end of its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _shared()
        self.epilog = self.epilog or EXITS


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _shared()
        self.epilog = self.epilog or EXITS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the program, which is the order of need."""
        return list(self.commands)


class Program(Group):
    """The whole command: what is expected to go wrong becomes one readable message and an exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A command line that cannot be parsed never reaches the --json option, so it is looked for here."""
        ctx.ensure_object(Session).out = Output(as_json="--json" in args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        session: Session = ctx.obj
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not session.out.as_json:
                raise
            session.out.error("usage", error.format_message())
            ctx.exit(USAGE)
        except SettingsRefused as refused:
            session.out.error("settings", str(refused.error), _mistakes(refused.error))
            ctx.exit(SETTINGS)
        except PipeError as error:
            session.out.error(error.code.value, str(error), _mistakes(error))
            ctx.exit(_CODES.get(error.code, REFUSED))
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            session.out.error(
                "failed", f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
            )
            ctx.exit(REFUSED)
        finally:
            session.close()


def _mistakes(error: PipeError) -> list[str]:
    return error.mistakes if isinstance(error, Mistakes) else []
