"""Schemas: listed, explained, enabled; a local file judged without any service."""

from __future__ import annotations

import json

import pytest

from conch_pipe.formats.check import check
from conch_pipe.formats.schema import load_schema
from tests.cli.conftest import Installation

GOOD = (
    "shift_id,store_id,employee_id,starts_at,ends_at\n"
    "s1,north,e1,2026-03-01 08:00,2026-03-01 16:00\n"
    "s2,north,e2,2026-03-01 09:00,2026-03-01 17:00\n"
)


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_schemas_are_listed_with_who_may_use_them(installed):
    installed.json("org", "create", "acme", "--schema", "orgShifts")

    listed = {one["name"]: one for one in installed.json("schema", "list")}

    assert set(listed) == {"orgShifts", "orgTransactionDetail", "orgTransactions"}
    assert listed["orgShifts"]["organisations"] == ["acme"]
    assert listed["orgShifts"]["table"] == "orgShifts"
    assert "orgTransactions" in installed.run("schema", "list").out


def test_an_enabled_schema_whose_file_is_gone_is_told(installed):
    installed.json("org", "create", "acme", "--schema", "orgShifts")
    (installed.state / "schemas" / "orgShifts.toml").unlink()

    listed = {one["name"]: one for one in installed.json("schema", "list")}

    assert listed["orgShifts"]["missing"] is True
    assert "its file is gone" in installed.run("schema", "list").out


def test_a_schema_is_explained_column_by_column(installed):
    shown = installed.json("schema", "show", "orgShifts")

    columns = {one["name"]: one for one in shown["columns"]}
    assert columns["shift_id"]["required"] is True
    assert columns["hourly_rate"]["type"] == "decimal(10,2)"
    assert "one of planned" in installed.run("schema", "show", "orgShifts").out


def test_schemas_are_enabled_and_disabled(installed):
    installed.json("org", "create", "acme")

    enabled = installed.json("schema", "enable", "acme", "orgShifts", "orgTransactions")
    assert enabled == {"organisation": "acme", "schemas": ["orgShifts", "orgTransactions"]}
    disabled = installed.json("schema", "disable", "acme", "orgShifts")
    assert disabled == {"organisation": "acme", "schemas": ["orgTransactions"]}
    assert installed.run("schema", "disable", "acme", "orgTransactions").out == "acme may send nothing\n"


@pytest.mark.parametrize(
    "words",
    [
        ("enable", "acme", "orgShits"),
        ("enable", "nobody", "orgShifts"),
        ("disable", "nobody", "orgShifts"),
        ("show", "orgShits"),
        ("check", "orgShits", "a.csv"),
        ("check", "orgShifts", "missing.csv"),
        ("sample", "orgShits"),
    ],
)
def test_what_is_not_there_is_not_found(installed, words):
    installed.json("org", "create", "acme")

    assert installed.json("schema", *words, status=3)["error"]["code"] == "not_found"


def test_a_good_file_would_be_accepted(installed, write):
    file = write("a.csv", GOOD)

    assert installed.json("schema", "check", "orgShifts", file) == {
        "schema": "orgShifts",
        "file": file,
        "accepted": True,
        "rows": 2,
        "rejected": 0,
        "problem_count": 0,
        "problems": [],
    }
    assert "2 rows" in installed.run("schema", "check", "orgShifts", file).out


def test_a_bad_file_is_told_line_by_line_and_exits_with_1(installed, write):
    file = write("a.csv", GOOD.replace("2026-03-01 09:00", "nine").replace("s1", ""))

    told = installed.json("schema", "check", "orgShifts", file, status=1)

    assert (told["accepted"], told["problem_count"]) == (False, 2)
    assert [(one["line"], one["column"]) for one in told["problems"]] == [(2, "shift_id"), (3, "starts_at")]
    assert told["problems"][1]["value"] == "nine"
    people = installed.run("schema", "check", "orgShifts", file)
    assert people.status == 1
    assert "nine" in people.out and "would be refused" in people.out


def test_json_files_are_judged_too(installed, write):
    file = write("a.json", json.dumps([{"shift_id": "s1"}]))

    told = installed.json("schema", "check", "orgShifts", file, status=1)

    assert not told["accepted"]


def test_other_endings_and_too_large_files_are_refused(installed, write, monkeypatch):
    assert installed.json("schema", "check", "orgShifts", write("a.txt", GOOD), status=1)["error"]["code"] == "invalid"
    monkeypatch.setenv("PIPE_SFTP_UPLOADS__MAX_BYTES", "20")
    told = installed.json("schema", "check", "orgShifts", write("a.csv", GOOD), status=1)
    assert told["error"]["code"] == "too_large"


def test_a_partner_without_an_installation_can_check_a_file(tmp_path, write, monkeypatch):
    monkeypatch.setattr("conch_pipe.settings.loading.PLACES", ("pipe-sftp.toml",))

    ran = Installation(tmp_path).bare("schema", "check", "orgShifts", write("a.csv", GOOD))

    assert ran.status == 0


def test_a_draft_schema_is_checked_before_it_is_used(installed, write):
    draft = write("draft.toml", 'title = "Draft"\n[columns.n]\ntype = "integer"\nrequired = true\n')
    wrong = write("wrong.toml", '[columns.n]\ntype = "intger"\nreqired = true\n')

    assert installed.json("schema", "check", draft, write("a.csv", "n\n1\n"))["rows"] == 1
    assert len(installed.json("schema", "check", wrong, "a.csv", status=1)["error"]["mistakes"]) == 2


def test_a_wrong_schema_file_is_told_by_every_command_that_needs_it(installed):
    (installed.state / "schemas" / "orgShifts.toml").write_text("nonsense")

    told = installed.json("schema", "list", status=1)

    assert "orgShifts.toml" in told["error"]["mistakes"][0]


@pytest.mark.parametrize("schema", ["orgShifts", "orgTransactions", "orgTransactionDetail"])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_samples_are_good_files(installed, tmp_path, schema, form):
    made = installed.json("schema", "sample", schema, "--rows", "7", "--format", form)
    plain = installed.run("schema", "sample", schema, "--rows", "7", "--format", form).out

    for text in (made["text"], plain):
        file = tmp_path / f"sample.{form}"
        file.write_text(text)
        verdict = check(load_schema(installed.state / "schemas" / f"{schema}.toml"), file)
        assert (verdict.accepted, verdict.rows) == (True, 7), verdict.problems
