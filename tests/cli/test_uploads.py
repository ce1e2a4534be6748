"""Uploads: found, explained, tried again, followed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from conch_pipe.cli.uploads import Moment, changes, line
from conch_pipe.model import Problem, State
from tests.cli.conftest import completed, failed

KEYS = {
    "id", "organisation", "client_id", "door", "schema", "name", "state", "bytes", "sha256", "rows", "rejected",
    "received_at", "finished_at", "problem",
}  # fmt: skip


def test_the_list_tells_everything_about_each_upload(installed, receive):
    receive("good.csv", completed(7))

    (found,) = installed.json("upload", "list")

    assert set(found) >= KEYS
    assert (found["name"], found["state"], found["rows"], found["rejected"]) == ("good.csv", "COMPLETED", 7, 0)
    assert found["received_at"] == "2026-11-21T12:00:00Z"
    assert "good.csv" in installed.run("upload", "list").out


def test_the_list_is_filtered(installed, receive):
    receive("good.csv", completed(7))
    receive("bad.csv", failed(Problem("not a number")))
    receive("new.json", received_at=datetime(2026, 11, 21, 13, tzinfo=UTC), schema="orgTransactions")

    def names(*filters: str) -> list[str]:
        return [one["name"] for one in installed.json("upload", "list", *filters)]

    assert set(names()) == {"good.csv", "bad.csv", "new.json"}
    assert names("--state", "failed") == ["bad.csv"]
    assert names("--schema", "orgTransactions") == ["new.json"]
    assert names("--since", "2026-11-21T12:30") == ["new.json"]
    assert set(names("--until", "2026-11-21T12:30")) == {"good.csv", "bad.csv"}
    assert names("--name", "GOOD") == ["good.csv"]
    assert names("--organisation", "nobody") == []
    assert names("--client", "pipe_b") == []
    assert names("--limit", "1") == ["new.json"]
    assert installed.run("upload", "list", "--client", "pipe_b").out == "no uploads\n"


def test_a_failed_upload_is_explained(installed, receive):
    bad = receive("bad.csv", failed(Problem("not a number", 3, 2, "hours", "six"), Problem("empty", 4, 3, "id")))

    problems = installed.json("upload", "errors", str(bad.id))

    assert problems[0] == {"reason": "not a number", "line": 3, "row": 2, "column": "hours", "value": "six"}
    assert len(problems) == 2
    assert installed.json("upload", "show", str(bad.id))["problems"] == problems
    for command in ("show", "errors"):
        out = installed.run("upload", command, str(bad.id)).out
        assert "not a number" in out and "hours" in out and "six" in out


def test_only_a_failed_upload_is_tried_again(installed, receive):
    bad = receive("bad.csv", failed(Problem("not a number")))
    good = receive("good.csv", completed(1))

    assert installed.json("upload", "retry", str(bad.id))[0]["state"] == "PENDING"
    assert installed.json("upload", "retry", str(good.id), status=1)["error"]["code"] == "conflict"
    assert installed.json("upload", "list", "--state", "PENDING")[0]["name"] == "bad.csv"


@pytest.mark.parametrize("command", ["show", "errors", "retry"])
def test_an_unknown_upload_is_not_found_and_a_bad_id_is_wrong_usage(installed, command):
    unknown = "01935b2f-0000-7000-8000-000000000000"

    assert installed.json("upload", command, unknown, status=3)["error"]["code"] == "not_found"
    assert installed.json("upload", command, "nonsense", status=2)["error"]["code"] == "usage"


def test_a_file_name_cannot_repaint_the_terminal(installed, receive):
    receive("\x9b31m[bold]a.csv")

    assert "\\x9b31m[bold]a.csv" in installed.run("upload", "list").out


def test_following_tells_each_change_once(receive):
    first = receive("a.csv")
    rounds = iter([[first], [first], [receive("b.csv"), first]])

    def read():
        return next(rounds, [])

    followed = changes(read, lambda: None)

    assert [next(followed).name, next(followed).name] == ["a.csv", "b.csv"]
    assert "PENDING" in line(first)


def test_following_has_no_json(installed):
    assert installed.run("upload", "list", "--follow", "--json").status == 2


def test_times_are_dates_or_ages():
    moment = Moment()

    assert moment.convert("2026-11-21", None, None) == datetime(2026, 11, 21, tzinfo=UTC)
    assert moment.convert("2026-11-21T10:00+02:00", None, None) == datetime(2026, 11, 21, 8, tzinfo=UTC)
    before = datetime.now(UTC)
    age = before - moment.convert("90m", None, None)
    assert timedelta(minutes=89) < age <= timedelta(minutes=90)
    with pytest.raises(click.BadParameter):
        moment.convert("yesterday", None, None)


def test_states_of_the_filter_are_those_of_uploads():
    from conch_pipe.cli.uploads import STATES

    assert set(STATES) == {state.value for state in State}
