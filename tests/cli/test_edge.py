"""The edge: exit codes, and one place for every failure."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from conch_pipe.cli.edge import Program
from conch_pipe.cli.program import program
from conch_pipe.cli.session import Session
from conch_pipe.errors import Code, Mistakes, PipeError
from tests.cli.conftest import Installation


def commands(group: click.Group, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command there is, by the words that call it."""
    found = []
    for name, one in group.commands.items():
        found += commands(one, (*words, name)) if isinstance(one, click.Group) else [(*words, name)]
    return found


@pytest.mark.parametrize("words", commands(program), ids=" ".join)
def test_every_command_has_help_with_json_and_exit_codes(tmp_path, words):
    ran = Installation(tmp_path).bare(*words, "--help")

    assert ran.status == 0
    assert "--json" in ran.out and "--config" in ran.out and "Exit codes" in ran.out


@pytest.mark.parametrize("words", [("status",), ("org", "list"), ("check",), ("upload", "list"), ("schema", "list")])
def test_without_settings_every_command_says_how_to_make_them(tmp_path, monkeypatch, words):
    monkeypatch.setattr("conch_pipe.settings.loading.PLACES", ("pipe-sftp.toml",))

    ran = Installation(tmp_path).bare(*words, "--json")

    assert ran.status == 5
    assert ran.json["error"]["code"] == "settings"
    assert "conch-pipe init" in ran.json["error"]["message"]


def test_all_mistakes_of_the_settings_are_listed_for_people_and_programs(tmp_path):
    (tmp_path / "pipe-sftp.toml").write_text("[ssh]\nport = -1\nprot = 1\n")
    here = Installation(tmp_path)

    people, programs = here.bare("status"), here.bare("status", "--json")

    assert (people.status, programs.status) == (5, 5)
    assert "line 2" in people.err and "line 3" in people.err
    assert len(programs.json["error"]["mistakes"]) == 2


def test_a_missing_catalog_is_not_made_by_a_look(tmp_path):
    (tmp_path / "pipe-sftp.toml").touch()

    ran = Installation(tmp_path).bare("org", "list", "--json")

    assert (ran.status, ran.json["error"]["code"]) == (3, "not_found")
    assert not (tmp_path / "catalog.sqlite").exists()


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (PipeError(Code.NOT_FOUND, "no such thing"), 3, "not_found"),
        (PipeError(Code.BUSY, "later"), 4, "busy"),
        (PipeError(Code.CONFLICT, "there already"), 1, "conflict"),
        (Mistakes("schema a", ["one", "two"]), 1, "invalid"),
        (PermissionError(13, "Permission denied", "/srv/x"), 1, "failed"),
        (click.UsageError("what?"), 2, "usage"),
    ],
)
def test_each_failure_has_its_exit_code_and_its_word(error, status, word):
    @click.group(cls=Program)
    def tree() -> None:
        pass

    @tree.command("fail")
    def fail() -> None:
        raise error

    people = CliRunner().invoke(tree, ["fail"], obj=Session())
    programs = CliRunner().invoke(tree, ["fail", "--json"], obj=Session())

    assert (people.exit_code, programs.exit_code) == (status, status)
    assert people.stdout == ""
    assert f'"code": "{word}"' in programs.stdout
    assert programs.stderr == ""


def test_json_and_config_are_taken_before_and_after_the_command(installed):
    config = str(installed.config)

    assert installed.bare("--json", "--config", config, "org", "list").json == []
    assert installed.bare("org", "--json", "--config", config, "list").json == []
    assert installed.bare("org", "list", "--config", config, "--json").json == []


def test_what_is_unexpected_is_not_hidden():
    @click.group(cls=Program)
    def tree() -> None:
        pass

    @tree.command("fail")
    def fail() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(tree, ["fail"], obj=Session()).exception, ZeroDivisionError)
