"""The examples of docs/partners.md, word for word: only host, port, login, file and prompts are filled in."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.documents import PARTNERS, block, code, without_blocks
from tests.live import material
from tests.live.clients.base import Outcome, Target, run
from tests.live.clients.libraries import NODE
from tests.live.service import Service

pytestmark = pytest.mark.live

Example = Callable[[Target, dict[str, str], Path], Outcome]


def filled_in(text: str, target: Target, file: Path) -> str:
    """The reader's own values in the places of the guide's.

    :raises AssertionError: the example has no host of the guide: it is not what it was.
    """
    assert "sftp.example.com" in text, text
    places = {
        "sftp.example.com": target.host,
        "2222": str(target.port),
        "your_client_id": target.username,
        "your_client_secret": target.password,
        "./transactions.csv": str(file),
        "/path/to/daily-export.csv": str(file),
        "february-sales.csv": str(file),
        "transactions.csv": file.name,
    }
    for place, value in places.items():
        text = text.replace(place, value)
    return text


def needs(*programs: str) -> None:
    """Skip by name what this machine does not have."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def bash(target: Target, known: dict[str, str], text: str) -> Outcome:
    """Run it as a script of a reader who has the secret in a variable."""
    script = target.file("example.sh", text)
    secrets = {"CLIENT_SECRET": target.password, "SSHPASS": target.password}
    return run(target, ["bash", str(script)], extra={**known, **secrets})


def line_of(heading: str, program: str) -> str:
    """The one line of a block that calls a program."""
    return next(line for line in block(PARTNERS, heading, "sh").splitlines() if line.startswith(program))


def typed(target: Target, known: dict[str, str], file: Path) -> Outcome:
    """``First contact``: what is typed behind the prompts."""
    needs("sftp", "sshpass")
    command = filled_in(block(PARTNERS, "First contact", "", 0), target, file).removeprefix("$ ").split()
    said = filled_in("sftp.example.com\n" + block(PARTNERS, "First contact", "", 1), target, file)
    lines = re.findall("(?m)^sftp> (.*)$", said)
    return run(
        target,
        ["sshpass", "-e", *command],
        typed="".join(f"{line}\n" for line in lines),
        extra={**known, "SSHPASS": target.password},
    )


def shell(target: Target, known: dict[str, str], file: Path) -> Outcome:
    """The here-document."""
    needs("bash", "sftp", "sshpass")
    return bash(target, known, filled_in(block(PARTNERS, "Shell", "sh"), target, file))


def batch_line() -> str:
    """The command that tells whether the put failed."""
    return next(one for one in code(without_blocks(PARTNERS.read_text())) if one.startswith("echo "))


def batch(target: Target, known: dict[str, str], file: Path) -> Outcome:
    """The one line below the here-document, in a script with its variables."""
    needs("bash", "sftp", "sshpass")
    head = block(PARTNERS, "Shell", "sh").partition("# sshpass")[0]
    return bash(target, known, filled_in(head + batch_line(), target, file))


def cron(target: Target, known: dict[str, str], file: Path) -> Outcome:
    """The crontab's line without its five fields."""
    needs("bash", "sftp", "sshpass")
    line = block(PARTNERS, "cron", "").split(maxsplit=5)[5]
    return bash(target, known, filled_in(line, target, file))


def scp(target: Target, known: dict[str, str], file: Path) -> Outcome:
    """With sshpass in the place of the person who types the secret."""
    needs("bash", "scp", "sshpass")
    return bash(target, known, "sshpass -e " + filled_in(block(PARTNERS, "scp", "sh"), target, file))


def paramiko(target: Target, known: dict[str, str], file: Path) -> Outcome:
    """The Python example."""
    if importlib.util.find_spec("paramiko") is None:
        pytest.skip("paramiko is not installed")
    text = filled_in(block(PARTNERS, "Python (paramiko)", "python"), target, file)
    return run(target, [sys.executable, "-P", str(target.file("example.py", text))])


def node(target: Target, known: dict[str, str], file: Path) -> Outcome:
    """The JavaScript example."""
    needs("node")
    if not (NODE / "node_modules" / "ssh2-sftp-client").is_dir():
        pytest.skip("ssh2-sftp-client is not installed")
    text = filled_in(block(PARTNERS, "Node.js (ssh2-sftp-client)", "js"), target, file)
    command = ["node", str(target.file("example.js", text))]
    return run(target, command, extra={"NODE_PATH": str(NODE / "node_modules")})


def transfer(program: str) -> Example:
    """One of the three lines for lftp, rclone and curl."""

    def example(target: Target, known: dict[str, str], file: Path) -> Outcome:
        needs("bash", program)
        return bash(target, known, filled_in(line_of("lftp, rclone, curl", program), target, file))

    example.__name__ = program
    return example


EXAMPLES = (typed, shell, batch, cron, scp, paramiko, node, *map(transfer, ("lftp", "rclone", "curl")))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_an_example_of_the_guide_brings_every_row(example, service: Service, target, known):
    file = target.scratch / f"{example.__name__}.csv"
    file.write_bytes(material.TRANSACTIONS.read_bytes())

    outcome = example(target, known, file)

    assert outcome.status == 0, outcome
    verdict = service.verdicts(file.name)[file.name]
    assert (verdict["state"], verdict["rows"]) == ("COMPLETED", len(material.TRANSACTION_ROWS)), outcome


def test_the_batch_line_tells_of_a_refused_put(target, known):
    file = target.scratch / "report.txt"
    file.write_text("not a table\n")

    outcome = batch(target, known, file)

    assert outcome.status != 0
    assert "use .csv or .json" in outcome.said


def test_the_example_for_winscp_names_the_servers_places():
    """It needs Windows, so only what can be told without is looked at."""
    text = block(PARTNERS, "PowerShell (WinSCP)", "powershell")

    assert "PortNumber = 2222" in text
    assert '"/orgTransactions/"' in text
