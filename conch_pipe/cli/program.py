"""The command's tree: what there is to say, in the order of need."""

from __future__ import annotations

import click

from conch_pipe.cli.api import api
from conch_pipe.cli.check import check
from conch_pipe.cli.demo import demo
from conch_pipe.cli.edge import Program
from conch_pipe.cli.environments import environment
from conch_pipe.cli.host_keys import host_key
from conch_pipe.cli.init import init
from conch_pipe.cli.organisations import credential, org
from conch_pipe.cli.people import person, token
from conch_pipe.cli.recordings import recording
from conch_pipe.cli.remotes import remote
from conch_pipe.cli.schemas import schema
from conch_pipe.cli.secrets import secrets
from conch_pipe.cli.session import Session
from conch_pipe.cli.status import settings, status
from conch_pipe.cli.uploads import upload
from conch_pipe.cli.warehouse import warehouse
from conch_pipe.cli.webhooks import webhook


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def program() -> None:
    """Run and look after pipe-sftp, the SFTP gateway that turns partners' files into rows.

    \b
    conch-pipe init state --demo                 settings, keys, databases, and an organisation to try with
    twistd -n pipe-sftp --config state/pipe-sftp.toml
    conch-pipe check --live                      does everything work, as a partner would see it?
    conch-pipe upload list --state FAILED        what went wrong
    conch-pipe schema check orgShifts FILE.csv   would this file be accepted?
    conch-pipe remote test acme-eu               does a customer's server take recordings?

    Works beside the running service and without it, as any user who may read the state folder.
    """


for command in (
    *(init, status, check, settings, host_key, org, credential, schema, upload, warehouse),
    *(remote, environment, recording, webhook, person, token, api, secrets, demo),
):
    program.add_command(command)


def main() -> None:
    """The entry point of ``conch-pipe``."""
    program.main(prog_name="conch-pipe", obj=Session())
