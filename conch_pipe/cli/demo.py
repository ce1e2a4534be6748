"""``conch-pipe demo``: a file's whole way, before your eyes."""

from __future__ import annotations

import click

from conch_pipe.cli import installation
from conch_pipe.cli.edge import Command
from conch_pipe.cli.session import Session
from conch_pipe.errors import Code, PipeError


@click.command(cls=Command)
@click.option("--schema", default="orgShifts", show_default=True, help="Which schema to send a sample of.")
@click.option("--rows", type=click.IntRange(1, 1000), default=5, show_default=True, help="Rows of the sample.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds for the verdict."
)
@click.pass_obj
def demo(session: Session, schema: str, rows: int, wait_s: float) -> None:
    """Put a sample through the running service over SFTP and show the rows it became.

    Makes the organisation demo when it is missing, or mends it. The sample is sent with a secret that is made for
    it and deleted afterwards; conch-pipe init DIR --demo makes one that stays.

    \b
    conch-pipe demo
    conch-pipe demo --schema orgTransactions --rows 20
    """
    from conch_pipe.cli.visiting import passing_credential, send
    from conch_pipe.cli.warehouse import show_rows, upload_rows
    from conch_pipe.formats.sample import sample
    from conch_pipe.model import State
    from conch_pipe.operations.schemas import known

    installation.copy_schemas(session.settings.schemas.folder)
    wanted = known(session.schemas, schema)
    installation.demo_organisation(session, session.schemas.names())
    text = sample(wanted, rows)
    session.out.say(text)
    with passing_credential(session, installation.DEMO, "demo") as passing:
        sent = send(session, passing, schema, text.encode(), within_s=wait_s)
    if sent.upload is None:
        raise PipeError(Code.FAILED, f"the service refused {sent.name}: {sent.seen.answer}")
    if sent.upload.state is State.FAILED:
        raise PipeError(Code.FAILED, f"upload {sent.upload.id} failed: {sent.upload.problem}")
    session.out.say(f"put /{schema}/{sent.name} over SFTP: upload {sent.upload.id} is {sent.upload.state.value}\n")
    loaded = upload_rows(session, wanted, sent.upload.id)
    session.out.document({"organisation": installation.DEMO, "upload": sent.upload, "rows": loaded})
    show_rows(session, loaded)
