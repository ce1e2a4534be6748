"""Every command line, link, setting, number and event that the documents name is there."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest

from conch_pipe.cli.program import program
from conch_pipe.cli.session import Session
from conch_pipe.events import CATALOGUE
from conch_pipe.model import TEST, Happening
from conch_pipe.settings import Settings
from conch_pipe.settings.reference import toml
from tests.docs.documents import (
    OPERATORS,
    ROOT,
    SECURITY,
    anchors,
    code,
    commands,
    documents,
    links,
    rows,
    without_blocks,
)

ID = "01a1fc4c-735f-77ef-afd7-cd7839bdc000"
WEBHOOKS = {one.value for one in Happening} | {TEST}  # what messages to webhooks are about
FILES = {"sqlite", "duckdb", "toml"}  # `catalog.sqlite` is a file, not a setting
BY_NAME = [pytest.param(path, id=path.name) for path in documents()]


def parse(words: list[str]) -> None:
    """Take a command line apart as the program would, without running it.

    :raises click.UsageError: there is no such command or option, or a value is wrong.
    """
    command: click.Command = program
    parent: click.Context | None = None
    named = 0
    while True:
        try:
            parent = command.make_context(command.name, list(words), parent=parent, obj=Session())
        except click.MissingParameter:
            if words:
                raise
            return  # a command that is only named
        except click.exceptions.NoArgsIsHelpError:
            return
        except click.exceptions.Exit as done:
            assert done.exit_code == 0  # --help
            return
        if not isinstance(command, click.Group):
            return
        _, found, words = command.resolve_command(parent, [*parent._protected_args, *parent.args])
        assert found is not None
        command, named = found, named + 1


def words_of(line: str) -> list[str]:
    """A command line of a document with something real in the places of its placeholders."""
    return [ID if word == "ID" else word for word in shlex.split(line) if "…" not in word or " " in word]


@pytest.mark.parametrize("path", BY_NAME)
def test_every_command_line_of_a_document_parses(path):
    wrong = {}
    for line in commands(path):
        words = words_of(line)
        if words[:1] == ["COMMAND"]:
            continue
        try:
            parse(words)
        except click.UsageError as error:
            wrong[line] = error.format_message()

    assert wrong == {}


def test_the_operators_guide_names_every_group_of_the_command():
    named = {line.split()[0] for line in commands(OPERATORS) if line and not line.startswith("-")}

    assert named >= {"check", "credential", "org", "schema", "settings", "status", "upload", "warehouse"}
    assert named >= {"environment", "recording", "remote"}


def test_a_wrong_option_or_command_is_found():
    for line in (
        "upload list --sinse 2d",
        "uploads list",
        "upload retry nothing",
        "credential rotate a --overlap-days x",
    ):
        with pytest.raises(click.UsageError):
            parse(line.split())


@pytest.mark.parametrize("path", BY_NAME)
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    lost = []
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []


def settings() -> dict[str, Any]:
    """section.name → default."""
    defaults = Settings()
    return {
        f"{section}.{name}": value for section in Settings.model_fields for name, value in getattr(defaults, section)
    }


def test_the_readme_leads_to_every_guide():
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}

    assert there - {link.partition("#")[0] for link in links(ROOT / "README.md")} == set()


@pytest.mark.parametrize("path", BY_NAME)
def test_every_setting_a_document_names_exists(path):
    known = settings()
    sections = "|".join(Settings.model_fields)
    text = without_blocks(path.read_text())
    named = {
        found[0]
        for one in code(text)
        if (found := re.match(rf"(?:{sections})\.([a-z_]+)(?= = |$)", one)) and found[1] not in FILES
    }
    named |= {
        f"{section}.{name}".lower()
        for section, name in re.findall(r"PIPE_SFTP_([A-Z]+)__([A-Z_]+)", text)
        if (section, name) != ("SECTION", "NAME")
    }

    # Events are written alike: `disk.low`.
    assert named - set(known) - set(CATALOGUE) - WEBHOOKS == set()


@pytest.mark.parametrize(
    ("path", "last"), [(OPERATORS, "touch it when"), (SECURITY, "bounds")], ids=["operators", "security"]
)
def test_every_default_in_a_table_of_settings_is_the_programs(path, last):
    table = rows(path, "setting", "default", last)

    told = {name: value for names, values, _ in table for name, value in zip(code(names), code(values), strict=True)}

    assert len(told) > 12
    assert told == {name: toml(settings()[name]) for name in told}


@pytest.mark.parametrize("path", BY_NAME)
def test_every_event_a_document_names_is_in_the_catalogue(path):
    kinds = "|".join(sorted({name.partition(".")[0] for name in CATALOGUE} - set(Settings.model_fields)))
    named = {one for one in code(without_blocks(path.read_text())) if re.fullmatch(rf"(?:{kinds})\.[a-z]+", one)}

    assert {one for one in named if one.partition(".")[2] not in FILES} - set(CATALOGUE) - WEBHOOKS == set()
