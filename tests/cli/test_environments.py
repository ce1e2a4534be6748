"""Environments: made with remotes, shown, changed, removed."""

from __future__ import annotations

import pytest

from tests.cli.pushing import Studio


@pytest.fixture
def studio(installed) -> Studio:
    return Studio(installed)


def test_an_environment_is_made_with_its_remotes_and_listed(studio):
    made = studio.environment("--remote", "studio", "--remote", "archive", "--delete-delivered")

    assert (made["organisation"], made["name"], made["remotes"]) == ("acme", "production", ["archive", "studio"])
    assert made["delete_delivered"] is True
    run, json = studio.installed.run, studio.installed.json
    assert json("environment", "list") == json("environment", "list", "acme") == [made]
    assert json("environment", "show", "acme", "production") == made
    assert "archive, studio" in run("environment", "list").out
    shown = run("environment", "show", "acme", "production").out
    assert "pipe@archive.example:22" in shown and "deleted when delivered" in shown


def test_files_are_kept_unless_somebody_says_otherwise(studio):
    assert studio.environment()["delete_delivered"] is False
    assert "recordings stay here" in studio.installed.run("environment", "show", "acme", "production").out


def test_what_is_not_named_stays(studio):
    studio.environment("--remote", "archive")

    def edit(*words: str) -> tuple[list[str], bool]:
        edited = studio.installed.json("environment", "edit", "acme", "production", *words)
        return edited["remotes"], edited["delete_delivered"]

    assert edit("--delete-delivered") == (["archive"], True)
    assert edit("--remote", "studio") == (["studio"], True)
    assert edit("--keep", "--no-remotes") == ([], False)


def test_a_disabled_remote_is_shown_as_such(studio):
    from conch_pipe.cli.session import now

    studio.environment("--remote", "archive")
    now(studio.catalog().remotes.disable("archive"))

    assert "DISABLED: operator" in studio.installed.run("environment", "show", "acme", "production").out


def test_an_environment_in_use_is_not_removed(studio):
    studio.environment("--remote", "archive")
    studio.submit()

    refused = studio.installed.json("environment", "remove", "acme", "production", status=1)
    assert refused["error"]["code"] == "conflict"
    assert "not finished" in refused["error"]["message"]


def test_a_removed_environment_is_gone(studio):
    studio.environment("--remote", "archive")

    assert studio.installed.json("environment", "remove", "acme", "production")["removed"] is True
    assert studio.installed.run("environment", "list").out.startswith("no environments")
    studio.environment()


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("create", "nobody", "production"), 3, "not_found"),
        (("create", "acme", "Production"), 1, "invalid"),
        (("create", "acme", "staging", "--remote", "nowhere"), 3, "not_found"),
        (("create", "acme", "production"), 1, "conflict"),
        (("list", "nobody"), 3, "not_found"),
        (("show", "acme", "nothing"), 3, "not_found"),
        (("edit", "acme", "nothing", "--keep"), 3, "not_found"),
        (("edit", "acme", "production"), 2, "usage"),
        (("edit", "acme", "production", "--remote", "archive", "--no-remotes"), 2, "usage"),
        (("edit", "acme", "production", "--remote", "nowhere"), 3, "not_found"),
        (("remove", "acme", "nothing"), 3, "not_found"),
    ],
)
def test_refusals_have_a_code(studio, words, status, code):
    studio.environment()

    assert studio.installed.json("environment", *words, status=status)["error"]["code"] == code
