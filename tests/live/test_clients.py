"""Every real client: what it puts arrives exactly, and its user learns when something is refused.

Which client notices what is from research of the clients (a refusal at OPEN reaches every one; curl and pscp do not
look at the answer to CLOSE); it stands beside each client in ``clients/``.
"""

from __future__ import annotations

import time

import pytest

from tests.live.clients.libraries import Node
from tests.live.clients.openssh import OldScp
from tests.live.conftest import had
from tests.live.material import SHIFT_ROWS, TRANSACTION_ROWS, assert_rows_are, plain

pytestmark = pytest.mark.live


def slug(client) -> str:
    """The client's name as part of a file name."""
    return client.name.replace(" ", "-").replace(":", "")


@pytest.fixture(scope="module")
def refused(service, small_service):
    """Names that were refused; at the end of the module none of them has a record anywhere."""
    names: set[str] = set()
    yield names
    recorded = {upload["name"] for one in (service, small_service) for upload in one.uploads()}
    assert not names & recorded


@pytest.fixture(scope="module")
def accepted(service, files, tmp_path_factory):
    """A file that was accepted and completed: not to be read, not to be removed."""
    client = next(client for client in _all() if client.name == "paramiko")
    outcome = client.put(service.target(tmp_path_factory.mktemp("accepted")), files.csv, "/orgTransactions/there.csv")
    assert outcome.status == 0, outcome
    return "/orgTransactions/there.csv"


def _all():
    from tests.live.clients import CLIENTS

    return CLIENTS


def assert_noticed(client, outcome) -> None:
    """The user's script learns that it failed: by the status, or by the text where the example hides the status."""
    assert outcome.status != 0 or client.always_zero, outcome


def test_what_it_puts_arrives_exactly(client, service, target, files):
    """A CSV, a JSON and 30 MB: status 0, the bytes as sent, and the rows in the warehouse as sent."""
    table, document, large = (f"{slug(client)}{end}" for end in (".csv", ".json", "-large.csv"))
    puts = {
        table: (files.csv, f"/orgTransactions/{table}"),
        document: (files.json, f"/orgShifts/{document}"),
        large: (files.large, f"/orgTransactions/{large}"),
    }

    outcomes = [client.put(target, files.named(file, name), remote) for name, (file, remote) in puts.items()]

    assert [outcome.status for outcome in outcomes] == [0, 0, 0], "\n".join(map(str, outcomes))
    verdicts = service.verdicts(*puts)
    assert {upload["state"] for upload in verdicts.values()} == {"COMPLETED"}, verdicts
    assert (verdicts[large]["bytes"], verdicts[large]["sha256"]) == (files.large.stat().st_size, files.large_sha256)
    assert verdicts[large]["rows"] == files.large_rows
    for name, schema, sent in ((table, "orgTransactions", TRANSACTION_ROWS), (document, "orgShifts", SHIFT_ROWS)):
        upload = verdicts[name]
        assert (upload["door"], upload["schema"], upload["client_id"]) == ("sftp", schema, service.login.client_id)
        assert_rows_are(service.rows(schema, [upload["id"]])[upload["id"]], sent, upload)


def test_ssh2_sftp_client_does_not_wait_for_our_acknowledgements(target, files):
    """It sends each WRITE in two segments and holds the second back for the first's ACK: 30 MB took 21 s before."""
    client = had(Node())
    name = "prompt.csv"

    begun = time.monotonic()
    outcome = client.put(target, files.named(files.large, name), f"/orgTransactions/{name}")
    took_s = time.monotonic() - begun

    assert outcome.status == 0, outcome
    assert took_s < 10, took_s


PLACES = {
    "wrong-extension": ("/orgTransactions/{}.txt", ("use .csv or .json",)),
    # Clients that change into the folder first go on in the root, or say in their own words that it is not there.
    "unknown-schema": ("/orgPayroll/{}.csv", ("no such schema", "put files into a schema folder")),
    "root": ("/{}.csv", ("put files into a schema folder",)),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_put_to_the_wrong_place_is_refused_at_open(client, place, target, files, refused):
    """Every client's user notices, and reads our sentence where the client shows one."""
    remote, sentences = PLACES[place]
    remote = remote.format(f"{slug(client)}-{place}")
    name = remote.rpartition("/")[2]
    refused.add(name)

    outcome = client.put(target, files.named(files.csv, name), remote)

    assert_noticed(client, outcome)
    hidden = {"unknown-schema": client.looks_first, "root": not client.shows_text_of_denied}
    if client.shows_text and not hidden.get(place):
        assert any(sentence in outcome.said for sentence in sentences), outcome


def test_a_file_past_the_limit_is_refused(client, small_service, tmp_path, files, refused):
    """Refused by the WRITE that crosses the limit, and by CLOSE for those who do not look at WRITEs."""
    name = f"{slug(client)}-too-large.csv"
    refused.add(name)

    outcome = client.put(
        small_service.target(tmp_path / "scratch"), files.named(files.too_large, name), f"/orgTransactions/{name}"
    )

    assert_noticed(client, outcome)
    if client.shows_text and client.shows_text_at_close:
        assert "max 64 KB" in outcome.said, outcome


def test_a_bad_header_is_refused_at_close(client, target, files, refused):
    """All notice but those who ignore the answer to CLOSE; in no case is there a record."""
    name = f"{slug(client)}-bad-header.csv"
    refused.add(name)

    outcome = client.put(target, files.named(files.bad_header, name), f"/orgTransactions/{name}")

    if client.blind_at_close:
        assert outcome.status == 0, f"{client.name} notices now: say so in the table\n{outcome}"
    else:
        assert_noticed(client, outcome)
    if client.shows_text and client.shows_text_at_close:
        assert "store_id is missing" in outcome.said, outcome


def test_a_wrong_password_is_refused(client, small_service, tmp_path, files, refused):
    """Nothing is put, and the client says so."""
    name = f"{slug(client)}-wrong-password.csv"
    refused.add(name)
    target = small_service.target(tmp_path / "scratch", password="not-the-secret")

    outcome = client.put(target, files.named(files.csv, name), f"/orgTransactions/{name}")

    assert_noticed(client, outcome)
    assert "Uploaded" not in outcome.said


def test_nothing_can_be_downloaded(client, target, accepted, tmp_path):
    """Not even the client's own file."""
    if "get" not in client.can:
        pytest.skip(f"{client.name} only puts")
    local = tmp_path / "downloaded"

    outcome = client.get(target, accepted, local)

    assert_noticed(client, outcome)
    assert not local.exists() or local.read_bytes() == b""


def test_no_folder_can_be_made(client, target):
    """Neither in the root nor in a schema folder."""
    if "mkdir" not in client.can:
        pytest.skip(f"{client.name} makes no folders")

    for path in ("/made", "/orgTransactions/made"):
        assert_noticed(client, client.mkdir(target, path))


def test_an_accepted_file_cannot_be_removed(client, service, target, accepted):
    """It stays recorded, and the client is told that it may not."""
    if "remove" not in client.can:
        pytest.skip(f"{client.name} removes nothing")

    outcome = client.remove(target, accepted)

    assert_noticed(client, outcome)


def test_the_accepted_file_is_still_there_after_all_that(service, accepted, files):
    """Its rows are in the warehouse, once."""
    upload = service.verdicts("there.csv")["there.csv"]

    assert_rows_are(service.rows("orgTransactions", [upload["id"]])[upload["id"]], TRANSACTION_ROWS, upload)


def test_the_old_scp_protocol_is_refused_with_a_sentence(target, files, refused):
    """``scp -O`` runs a command on the server; there is none, and its user is told what to do instead."""
    client = had(OldScp())
    refused.add("old.csv")

    outcome = client.put(target, files.named(files.csv, "old.csv"), "/orgTransactions/old.csv")

    assert outcome.status != 0
    assert "sftp" in outcome.said.lower(), outcome


def test_plain_knows_one_value_in_two_spellings():
    """The comparison itself: equal values are equal, others are not."""
    same = [("7", 7), ("7.50", "7.5"), ("2026-02-20T10:00:00Z", "2026-02-20 10:00:00"), ("true", True)]

    assert [plain(a) == plain(b) for a, b in same] == [True] * len(same)
    assert plain("7") != plain("7.01")
    assert plain("2026-02-20T10:00:00+02:00") != plain("2026-02-20T10:00:00Z")
