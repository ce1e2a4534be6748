"""``conch-pipe api`` without a service, or with one that is no Upload API; tests/live has the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from conch_pipe.cli.api import api

WHO = ("--client-id", "pipe_a", "--secret-stdin")
SECRET = "kanarek-0123456789"


class Odd(BaseHTTPRequestHandler):
    """Answers as it is told."""

    answers: dict[str, bytes | None]

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.answers[self.path.partition("?")[0]]
        if body is None:
            self.close_connection = True
            return
        status, _, body = body.partition(b" ")
        self.send_response(int(status))
        self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture
def odd() -> Iterator[tuple[str, dict[str, bytes | None]]]:
    """A server's address, and what it answers by path."""
    answers: dict[str, bytes | None] = {"/api/external/auth/token": b'200 {"access_token": "t", "expires_in": 900}'}
    server = HTTPServer(("127.0.0.1", 0), type("Told", (Odd,), {"answers": answers}))
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", answers
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_no_option_takes_a_secret():
    """What is on the command line every user of the machine can read."""
    options = {option for command in api.commands.values() for param in command.params for option in param.opts}

    assert [one for one in options if "secret" in one or "token" in one or "password" in one] != []
    assert {one for one in options if "secret" in one} == {"--secret-file", "--secret-stdin"}
    assert not any("token" in one or "password" in one for one in options)


def test_without_a_service_it_says_so(installed):
    done = installed.run("api", "list", *WHO, input=SECRET)

    assert (done.status, "is not running" in done.err) == (4, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--client-id", "pipe_a"), "no client_secret"), (("--secret-stdin",), "--client-id is missing")],
)
def test_who_asks_must_be_said(words, said, installed):
    done = installed.run("api", "token", "--url", "http://127.0.0.1:1", *words)

    assert (done.status, said in done.err) == (2, True)


@pytest.mark.parametrize("url", ["http://192.0.2.1", "http://api.example.com", "http://127.0.0.1.example.com"])
def test_a_secret_is_not_sent_over_the_network_in_clear(url, installed):
    done = installed.json("api", "token", "--url", url, *WHO, status=1)

    assert done["error"]["code"] == "not_allowed"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80", "http://", "http://127.0.0.1:99999", "https://u@h"])
def test_an_address_that_is_none_is_refused(url, installed):
    assert installed.json("api", "token", "--url", url, "--clear", *WHO, status=1)["error"]["code"] == "invalid"


def test_where_nobody_answers_it_may_be_tried_again(installed):
    done = installed.run("api", "token", "--url", "http://127.0.0.1:1", *WHO, input=SECRET)

    assert (done.status, done.err.startswith("conch-pipe: nothing answers at http://127.0.0.1:1: ")) == (4, True)


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (b"200 <html>", 1, "failed"),
        (b"302 ", 1, "failed"),
        (b'500 {"error": "no"}', 1, "failed"),
        (b'413 {"error": {"code": "too_large", "message": "too large"}}', 1, "too_large"),
        (b'503 {"error": {"code": "busy", "message": "later"}}', 4, "busy"),
        (None, 4, "busy"),
    ],
)
def test_whatever_is_answered_is_told_and_an_answer_that_was_lost_is_no_success(
    answer, status, code, odd, installed, tmp_path
):
    url, answers = odd
    answers["/api/external/upload"] = answer
    file = tmp_path / "large.csv"
    file.write_bytes(b"a,b\n" * 1_000_000)  # more than fits into the socket: the answer comes before it is sent

    words = ("api", "upload", file, "--schema", "s", "--url", url, *WHO, "--json")
    done = installed.run(*words, input=SECRET)

    assert (done.status, done.json["error"]["code"]) == (status, code)
    assert SECRET not in json.dumps(done.json)
