"""``conch-pipe api`` beside the running service: what a sender does with it, over HTTP alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from conch_pipe.cli.program import program
from conch_pipe.cli.session import Session
from tests.live import material
from tests.live.service import Login, Service
from tests.web import certificates

pytestmark = pytest.mark.live


def run(service: Service, *words: str, login: Login | None = None, **environment: str) -> Result:
    """The command as a sender has it; the secret by the environment, unless something else is given."""
    login = login or service.login
    given = {"PIPE_CLIENT_ID": login.client_id, "PIPE_CLIENT_SECRET": login.client_secret} | environment
    done = CliRunner().invoke(
        program, ["--config", str(service.config), "api", *map(str, words)], obj=Session(), env=given
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert login.client_secret not in done.output
    return done


def told(service: Service, *words: str, **environment: str) -> Any:
    done = run(service, *words, "--json", **environment)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_file_is_sent_judged_and_found_again(service, tmp_path):
    words = ("upload", material.TRANSACTIONS, "--schema", "orgTransactions", "--name", "verkäufe.csv")

    sent = told(service, *words, "--key", "command-1", "--wait", "90")
    again = told(service, *words, "--key", "command-1")
    seen = told(service, "status", sent["uploadId"])
    (listed,) = told(
        service, "list", "--name", "verkäufe", "--source", "http", "--since", "1h", "--status", "completed"
    )

    assert (sent["status"], sent["rows"], sent["fileName"]) == ("COMPLETED", 4, "verkäufe.csv")
    assert {one["uploadId"] for one in (again, seen, listed)} == {sent["uploadId"]}
    people = run(service, "upload", material.TRANSACTIONS, "--schema", "orgTransactions", "--wait", "90").stdout
    assert people.endswith("is COMPLETED, 4 rows\n")
    assert "verkäufe.csv" in run(service, "list").stdout
    assert "rows            4" in run(service, "status", sent["uploadId"]).stdout


def test_json_is_sent_as_such(service):
    sent = told(service, "upload", material.SHIFTS, "--schema", "orgShifts", "--wait", "90")

    assert (sent["status"], sent["rows"]) == ("COMPLETED", len(material.SHIFT_ROWS))


def test_a_bad_file_ends_with_1_and_all_its_problems_are_told(service, tmp_path):
    head, *rows = material.TRANSACTIONS.read_text().splitlines()
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([head] + [rows[0].replace("119.00", f"a lot {number}") for number in range(150)]) + "\n")

    sent = run(service, "upload", bad, "--schema", "orgTransactions", "--wait", "90", "--json")

    document = json.loads(sent.stdout)
    assert (sent.exit_code, document["status"]) == (1, "FAILED")
    seen = told(service, "status", document["uploadId"])
    assert (len(seen["problems"]), "nextPage" in seen) == (100, False)  # the first 100 are kept
    people = run(service, "status", document["uploadId"])
    assert (people.exit_code, "a lot 0" in people.stdout) == (0, True)


def test_what_the_api_refuses_is_told_in_its_words_with_its_code(service, tmp_path):
    send = ("upload", material.TRANSACTIONS, "--key", "command-2")
    told(service, *send, "--schema", "orgTransactions")

    for words, status, code in [
        ((*send, "--schema", "orgShifts"), 1, "key_reused"),
        (("upload", material.TRANSACTIONS, "--schema", "nothing"), 1, "unknown_schema"),
        (("status", "01935b2f-0000-7000-8000-000000000000"), 3, "not_found"),
    ]:
        machine, people = run(service, *words, "--json"), run(service, *words)
        assert (machine.exit_code, json.loads(machine.stdout)["error"]["code"]) == (status, code)
        assert (people.exit_code, people.stderr.startswith(f"conch-pipe: {code}: ")) == (status, True)


def test_a_wrong_secret_is_refused(service, tmp_path):
    wrong = tmp_path / "secret"
    wrong.write_text("kanarek-wrong\n")

    done = run(service, "list", "--secret-file", wrong, "--json")

    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (1, "unauthorized")


def test_a_token_does_for_many_and_nobody_logs_in_again(service, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(service.login.client_secret + "\n")
    nothing = {"PIPE_CLIENT_SECRET": "", "PIPE_CLIENT_ID": ""}
    given = run(service, "token", "--client-id", service.login.client_id, "--secret-file", secret, **nothing)
    token = given.stdout.strip()

    assert told(service, "list", "--limit", "1", PIPE_API_TOKEN=token, **nothing) is not None
    assert run(service, "list", PIPE_API_TOKEN=token[:-9], **nothing).exit_code == 1


def test_the_pages_of_a_list_are_put_together(service, monkeypatch):
    for _ in range(3):
        told(service, "upload", material.SHIFTS, "--schema", "orgShifts")
        told(service, "upload", material.TRANSACTIONS, "--schema", "orgTransactions")
    at_once = told(service, "list")
    monkeypatch.setattr("conch_pipe.cli.api._PAGE", 1)

    assert told(service, "list", "--limit", "2") == at_once[:2]


def test_over_tls_the_services_own_certificate_is_the_one_that_counts(fresh_service, tmp_path):
    certificate, key = certificates.write(tmp_path)
    service = fresh_service({"http.certificate": certificate, "http.key": key})
    url = json.loads(service.command("status", "--json"))["http_url"]
    files = {"PIPE_SFTP_HTTP__CERTIFICATE": str(certificate), "PIPE_SFTP_HTTP__KEY": str(key)}

    assert told(service, "list", **files) == []
    assert told(service, "list", "--url", url, "--cacert", certificate) == []
    distrusted = run(service, "list", "--url", url)
    (tmp_path / "other").mkdir()
    other, other_key = certificates.write(tmp_path / "other")
    another = run(service, "list", PIPE_SFTP_HTTP__CERTIFICATE=str(other), PIPE_SFTP_HTTP__KEY=str(other_key))

    assert [one.exit_code for one in (distrusted, another)] == [1, 1]
    assert "is not trusted" in distrusted.stderr
    assert "kanarek" not in another.stderr
