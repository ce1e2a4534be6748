"""/metrics: who may read it, and that it has what happened."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from conch_pipe.model import Scope
from tests.web.conftest import Door
from tests.web.test_health import NEAR, ask


def test_only_who_is_near_or_has_a_token_that_reads_everything(door):
    refused = {
        name: ask(door, "/metrics", **({"Authorization": token} if token else {})).status
        for name, token in {
            "nobody": "",
            "nonsense": "Bearer nonsense",
            "a client": door.bearer(),
            "another scope": door.operator(Scope.UPLOADS),
            "one organisation's": door.operator(Scope.READ, organisation="acme"),
        }.items()
    }

    assert refused == {
        "nobody": 401,
        "nonsense": 401,
        "a client": 401,
        "another scope": 403,
        "one organisation's": 403,
    }
    assert ask(door, "/metrics", Authorization=door.operator(Scope.READ)).status == 200
    assert ask(door, "/metrics", NEAR).status == 200
    assert ask(door, "/metrics", NEAR, X_Forwarded_For="198.51.100.1").status == 401


def test_the_text_is_prometheus_and_has_what_happened(door):
    assert door.ask("POST", "/api/external/upload?schemaType=nobodys", b"x", Content_Type="text/csv").status == 400
    answer = ask(door, "/metrics", NEAR)

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }
    assert samples["pipe_sftp_uploads_refused_total", "acme", "not_found"] == 1
    assert samples["pipe_sftp_http_requests_total", "/api/external/upload", "400", "POST"] == 1
    assert b"nobodys" not in answer.body


def test_what_a_client_writes_is_in_no_label(door: Door):
    for path in ("/evil-path", "/api/external/upload/evil/status", "/api/external/uploads?status=evil"):
        door.ask("GET", path, User_Agent="evil")
    door.connect().send(b"EVIL /evil HTTP/1.1\r\nHost: evil\r\n\r\n")
    door.connect().send(b"evil\r\n\r\n")

    answer = ask(door, "/metrics", NEAR)

    assert answer.status == 200
    assert b"evil" not in answer.body.lower()
