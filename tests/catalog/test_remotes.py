"""Remotes and environments: what operators change, what waits for it, and what is gone for good."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from conch_pipe.catalog import DirectDatabase
from conch_pipe.catalog.tables import remote_secrets
from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Pin, PushState, Remote, RemoteSecrets, Role
from tests import catalogs
from tests.catalog.conftest import SECRETS, Bench, Pump, new_keys
from tests.conftest import CANARY

BLOB, OTHER = b"\0\0\0\x0bssh-ed25519" + b"k" * 36, b"\0\0\0\x0bssh-ed25519" + b"o" * 36
PRIVATE = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n".encode()
DAY = timedelta(days=1)


def code(bench, deferred) -> Code:
    with pytest.raises(PipeError) as caught:
        bench.result(deferred)
    assert CANARY not in str(caught.value)
    return caught.value.code


def files(path) -> bytes:
    """All the catalog's bytes on disk."""
    return b"".join(part.read_bytes() for part in sorted(path.parent.glob(path.name + "*")))


def sealed(bench, **by: str) -> list[bytes]:
    """What is stored of the secrets."""

    def query(connection):
        rows = connection.execute(remote_secrets.select()).mappings()
        return [row["sealed"] for row in rows if all(row[name] == by[name] for name in by)]

    return bench.result(bench.database.read(query))


def test_a_remote_is_kept_with_all_it_has(bench):
    bench.clock.advance(5)
    given = Remote(
        "north",
        "acme",
        "north.example",
        "pipe",
        bench.now(),
        port=2022,
        folder="/in box",
        max_connections=3,
        source_address="192.0.2.7",
        algorithms="legacy-2026",
        temporary_names=True,
        marker="{NAME}.done",
        chunk_size=32_768,
        pins=(Pin(BLOB, bench.now(), "given"), Pin(OTHER, bench.now(), "learnt")),
        any_host_key=True,
        public_key="ssh-ed25519 AAAA pipe",
    )
    bench.result(bench.catalog.organisations.create("acme"))

    added = bench.result(bench.remotes.add(given, RemoteSecrets("open " + CANARY, PRIVATE)))

    assert added == replace(given, has_password=True)
    assert bench.result(bench.remotes.get("north")) == added
    assert bench.result(bench.remotes.get("south")) is None
    assert bench.result(bench.remotes.secrets("north")) == RemoteSecrets("open " + CANARY, PRIVATE)
    assert CANARY not in repr(bench.result(bench.remotes.secrets("north"))) + repr(added)


def test_a_name_is_taken_once_and_its_organisation_is_there(bench):
    remote = bench.remote()

    assert code(bench, bench.remotes.add(remote, SECRETS)) is Code.CONFLICT
    assert code(bench, bench.remotes.add(replace(remote, name="x", organisation="none"), SECRETS)) is Code.NOT_FOUND
    assert code(bench, bench.remotes.add(replace(remote, name="x"), RemoteSecrets())) is Code.INVALID
    assert [one.name for one in bench.result(bench.remotes.list())] == ["north"]


def test_remotes_are_listed_by_name_for_all_or_one_organisation(in_memory):
    for name, organisation in (("b", "acme"), ("a", "acme"), ("c", "other")):
        in_memory.remote(name, organisation=organisation, pins=(Pin(name.encode(), in_memory.now(), "given"),))

    everything = in_memory.result(in_memory.remotes.list())

    assert [(one.name, one.pins[0].blob) for one in everything] == [("a", b"a"), ("b", b"b"), ("c", b"c")]
    assert [one.name for one in in_memory.result(in_memory.remotes.list("acme"))] == ["a", "b"]
    assert code(in_memory, in_memory.remotes.list("none")) is Code.NOT_FOUND


def test_what_nobody_can_unseal_fails_and_says_nothing(bench, tmp_path):
    bench.remote()
    bench.keys.path.unlink()
    assert code(bench, bench.remotes.secrets("north")) is Code.FAILED
    bench.keys.make()
    assert code(bench, bench.remotes.secrets("north")) is Code.FAILED
    assert code(bench, bench.remotes.reseal_all()) is Code.FAILED
    assert code(bench, bench.remotes.secrets("south")) is Code.NOT_FOUND


def test_a_remote_without_a_key_to_seal_with_is_not_added(bench):
    bench.remote()
    bench.keys.path.chmod(0o644)

    assert code(bench, bench.remotes.add(replace(bench.result(bench.remotes.get("north")), name="b"), SECRETS)) is (
        Code.FAILED
    )
    assert bench.result(bench.remotes.get("b")) is None


def test_without_a_key_file_remotes_may_be_looked_at_only():
    database = catalogs.in_memory()
    bench = Bench(database, Pump())

    assert code(bench, bench.catalog.organisations.create("acme").addCallback(lambda _: bench.remote())) is Code.FAILED
    assert bench.result(bench.remotes.list()) == ()
    bench.result(database.close())


def test_editing_changes_what_is_named_and_remembers_when(bench):
    before = bench.remote(public_key="")
    bench.clock.advance(10)

    edited = bench.result(bench.remotes.edit("north", {"host": "n.example", "port": 2222}))

    assert edited == replace(before, host="n.example", port=2222, changed_at=bench.now())
    assert bench.result(bench.remotes.secrets("north")) == SECRETS
    assert code(bench, bench.remotes.edit("south", {"port": 1})) is Code.NOT_FOUND


@pytest.mark.parametrize("field", ["name", "enabled", "pins", "created_at", "nonsense"])
def test_what_changes_by_other_means_cannot_be_edited(in_memory, field):
    in_memory.remote()

    with pytest.raises(ValueError, match=field):
        in_memory.result(in_memory.remotes.edit("north", {field: "x"}))
    with pytest.raises(ValueError, match="secrets"):
        in_memory.result(in_memory.remotes.edit("north", {}, {"host": "x"}))


def test_secrets_are_set_and_taken_away_one_by_one(bench):
    bench.remote()

    edit = bench.remotes.edit
    both = bench.result(edit("north", {"public_key": "ssh-ed25519 AAAA"}, {"private_key": PRIVATE}))
    assert (both.has_password, both.public_key) == (True, "ssh-ed25519 AAAA")
    assert bench.result(bench.remotes.secrets("north")) == RemoteSecrets(SECRETS.password, PRIVATE)
    keyed = bench.result(edit("north", {}, {"password": None}))
    assert (keyed.has_password, keyed.public_key) == (False, "ssh-ed25519 AAAA")
    back = bench.result(edit("north", {}, {"private_key": None, "password": "again " + CANARY}))
    assert (back.has_password, back.public_key) == (True, "")
    assert bench.result(bench.remotes.secrets("north")) == RemoteSecrets("again " + CANARY)


def test_a_remote_without_any_secret_is_disabled_until_it_has_one(bench):
    """Credentials can be removed at any time, the last of them too."""
    bench.remote()

    bare = bench.result(bench.remotes.edit("north", {}, {"password": None}))

    assert (bare.enabled, bare.disabled_reason, bare.has_password) == (False, "credentials", False)
    assert sealed(bench, remote="north") == []
    assert code(bench, bench.remotes.enable("north")) is Code.CONFLICT
    back = bench.result(bench.remotes.edit("north", {}, {"password": "again " + CANARY}))
    assert (back.enabled, back.disabled_reason, back.disabled_at) == (True, "", None)


def test_a_changed_key_seals_everything_anew(bench):
    bench.remote("north", RemoteSecrets("open " + CANARY, PRIVATE))
    bench.remote("south")
    before = set(sealed(bench))
    bench.keys.rotate()

    assert bench.result(bench.remotes.reseal_all()) == 3

    bench.keys.retire()
    assert not before & set(sealed(bench))
    assert bench.result(bench.remotes.secrets("north")) == RemoteSecrets("open " + CANARY, PRIVATE)
    assert bench.result(bench.remotes.secrets("south")) == SECRETS


def test_trusted_keys_are_added_once_or_set(bench):
    bench.remote()

    bench.result(bench.remotes.trust("north", BLOB, "learnt"))
    bench.result(bench.remotes.trust("north", OTHER))
    bench.clock.advance(1)
    twice = bench.result(bench.remotes.trust("north", BLOB))

    first = bench.now() - timedelta(seconds=1)
    assert twice.pins == (Pin(BLOB, first, "learnt"), Pin(OTHER, first, "trusted"))
    set_ = bench.result(bench.remotes.set_pins("north", [Pin(OTHER, first, "given"), Pin(OTHER, first, "given")]))
    assert set_.pins == (Pin(OTHER, first, "given"),)
    assert bench.result(bench.remotes.set_pins("north", [])).pins == ()
    for action in (bench.remotes.trust("south", BLOB), bench.remotes.set_pins("south", [])):
        assert code(bench, action) is Code.NOT_FOUND


def test_a_remote_is_disabled_and_enabled(bench):
    before = bench.remote()

    disabled = bench.result(bench.remotes.disable("north"))
    bench.clock.advance(1)
    enabled = bench.result(bench.remotes.enable("north"))

    at = bench.now() - timedelta(seconds=1)
    assert disabled == replace(before, enabled=False, disabled_reason="operator", disabled_at=at, changed_at=at)
    assert enabled == replace(before, changed_at=bench.now())
    assert code(bench, bench.remotes.enable("south")) is Code.NOT_FOUND
    assert code(bench, bench.remotes.disable("south")) is Code.NOT_FOUND


def waiting(bench, *remotes: str):
    """A recording whose pushes have failed once and are due tomorrow: the pushes by remote."""
    bench.environment(*remotes)
    recording, pushes = bench.recorded()
    for job in bench.claim_pushes():
        bench.attempt(job, PushState.WAITING)
    bench.clock.advance(1)
    return recording, {push.remote: push for push in pushes}


@pytest.mark.parametrize(
    "change",
    [
        lambda remotes: remotes.edit("north", {"folder": "in"}),
        lambda remotes: remotes.edit("north", {}, {"password": "new " + CANARY}),
        lambda remotes: remotes.trust("north", BLOB),
        lambda remotes: remotes.set_pins("north", []),
        lambda remotes: remotes.disable("north").addCallback(lambda _: remotes.enable("north")),
        lambda remotes: remotes.release("north"),
    ],
    ids=["edit", "secret", "trust", "pins", "enable", "release"],
)
def test_what_waits_is_tried_at_once_when_a_change_may_help(in_memory, change):
    _, pushes = waiting(in_memory, "north", "south")
    assert in_memory.claim_pushes() == []

    in_memory.result(change(in_memory.remotes))

    assert in_memory.push(pushes["north"]) == replace(
        pushes["north"],
        attempts=1,
        ended_at=in_memory.now() - timedelta(seconds=1),
        manual=True,
        due_at=in_memory.now(),
    )
    assert not in_memory.push(pushes["south"]).manual
    [job] = in_memory.claim_pushes()
    assert (job.lane, job.subject) == ("north", str(pushes["north"].id))


def test_nothing_is_tried_at_once_at_a_remote_that_stays_disabled(in_memory):
    _, pushes = waiting(in_memory, "north")
    in_memory.result(in_memory.remotes.disable("north"))

    in_memory.result(in_memory.remotes.edit("north", {"folder": "in"}))
    in_memory.result(in_memory.remotes.trust("north", BLOB))

    remote = in_memory.result(in_memory.remotes.get("north"))
    assert (remote.enabled, remote.disabled_reason) == (False, "operator")
    assert not in_memory.push(pushes["north"]).manual
    assert in_memory.claim_pushes() == []


def test_what_is_final_is_not_tried_again_by_a_change(in_memory):
    in_memory.environment("north")
    for name, state in (("a", PushState.DELIVERED), ("b", PushState.GIVEN_UP)):
        in_memory.recorded(name)
        in_memory.attempt(in_memory.claim_pushes()[0], state)

    assert in_memory.result(in_memory.remotes.release("north")) == 0
    assert in_memory.claim_pushes() == []


def test_a_removed_remote_takes_its_pushes_with_it(bench):
    """Those end with a reason; what has arrived stays so, and the files' fate is decided."""
    recording, pushes = waiting(bench, "north", "south")
    delivered, (other,) = bench.result(
        bench.environments.create("acme", "second", ["north"]).addCallback(
            lambda _: bench.recordings.accept(bench.recording("r2", environment="second"))
        )
    )
    bench.attempt(bench.claim_pushes()[0], PushState.DELIVERED)
    bench.clock.advance(60)
    [south, north] = sorted(bench.claim_pushes(), key=lambda job: job.lane, reverse=True)
    bench.attempt(south, PushState.DELIVERED)
    assert bench.retentions() == [str(delivered.uid)]

    assert bench.result(bench.remotes.remove("north")) == 1

    ended = bench.push(pushes["north"])
    assert (ended.state, ended.final_at, ended.due_at) == (PushState.GIVEN_UP, bench.now(), None)
    assert ended.problems == {Role.MAIN: "removed", Role.SNAPSHOT: "removed"}
    assert bench.push(other).state is PushState.DELIVERED
    assert not bench.attempt(north, PushState.DELIVERED)  # it was under way: its lease is not ours any more
    assert not bench.result(bench.jobs.renew(north, 60))
    assert bench.push(pushes["north"]) == ended
    assert bench.retentions() == [str(recording.uid)]
    assert bench.result(bench.remotes.get("north")) is None
    assert [one.remotes for one in bench.result(bench.environments.list())] == [("south",), ()]
    assert code(bench, bench.remotes.remove("north")) is Code.NOT_FOUND
    bench.remote("north")  # the name is free again


def test_a_push_asked_for_again_ends_with_its_remote_too(in_memory):
    in_memory.environment("north")
    recording, (push,) = in_memory.recorded()
    in_memory.attempt(in_memory.claim_pushes()[0], PushState.GIVEN_UP)
    final_at = in_memory.now()
    in_memory.clock.advance(1)
    in_memory.result(in_memory.pushes.retry(recording.uid))

    in_memory.result(in_memory.remotes.remove("north"))

    ended = in_memory.push(push)
    assert (ended.state, ended.manual, ended.final_at, ended.due_at) == (PushState.GIVEN_UP, False, final_at, None)


@pytest.mark.parametrize("kind", ["file", "threads"], indirect=False)
@pytest.mark.parametrize("removal", ["remove", "edit"])
def test_a_secret_that_is_taken_away_is_in_no_file_any_more(tmp_path, kind, removal):
    """Neither what was sealed nor the seal: not in the database, not in its log, not with others still reading."""
    from conch_pipe.catalog import Database

    path = tmp_path / "catalog.sqlite"
    pump = Pump()
    database = Database(f"sqlite:///{path}", pump.deliver) if kind == "threads" else DirectDatabase(f"sqlite:///{path}")
    database.open()
    service = sqlite3.connect(path)
    service.execute("SELECT * FROM remotes").fetchall()
    bench = Bench(database, pump, new_keys(tmp_path))
    bench.remote("north", RemoteSecrets("open " + CANARY, PRIVATE), pins=(Pin(BLOB, bench.now(), "given"),))
    bench.remote("south", pins=(Pin(OTHER, bench.now(), "given"),))
    gone, kept = sealed(bench, remote="north"), sealed(bench, remote="south")
    assert all(one in files(path) for one in (*gone, *kept, BLOB))

    if removal == "remove":
        bench.result(bench.remotes.remove("north"))
        gone.append(BLOB)
    else:
        bench.result(bench.remotes.edit("north", {}, {"password": "other " + CANARY, "private_key": None}))

    left = files(path)
    assert not [one for one in gone if one in left]
    assert all(one in left for one in (*kept, OTHER))
    assert CANARY.encode() not in left
    assert bench.result(bench.remotes.secrets("south")) == SECRETS
    service.close()
    bench.result(database.close())


def test_of_many_secrets_none_is_left_in_a_gap_of_a_page(tmp_path):
    """Rows are moved when pages are split; their copies in the gaps must go as well."""
    chance = random.Random(4)  # noqa: S311
    path = tmp_path / "catalog.sqlite"
    database = DirectDatabase(f"sqlite:///{path}")
    database.open()
    bench = Bench(database, Pump(), new_keys(tmp_path))
    known, gone = set(), set()
    for turn in range(120):
        name = f"r{chance.randrange(10_000)}-{turn}"  # in any order of the table
        if turn % 3 or not known:
            bench.remote(name, RemoteSecrets("p" * chance.randrange(1, 100), b"k" * chance.randrange(300, 3000)))
            known.add(name)
        else:
            name = chance.choice(sorted(known))
            gone |= set(sealed(bench, remote=name))
            if turn % 2:
                bench.result(bench.remotes.remove(name))
                known.remove(name)
            else:
                bench.result(bench.remotes.edit(name, {}, {"password": "x" * 50, "private_key": None}))

    left = files(path)
    bench.result(database.close())
    assert len(gone) > 40
    assert not [one for one in gone if one in left or one[30:200] in left]


def test_a_removal_whose_wiping_fails_says_so_and_can_be_wiped_later(tmp_path):
    path = tmp_path / "catalog.sqlite"
    database = DirectDatabase(f"sqlite:///{path}", busy_timeout_s=0.01)
    database.open()
    bench = Bench(database, Pump(), new_keys(tmp_path))
    bench.remote("north")
    gone = sealed(bench)
    reading = sqlite3.connect(path, isolation_level=None)
    reading.execute("BEGIN")
    reading.execute("SELECT * FROM remotes").fetchall()

    with pytest.raises(PipeError) as caught:
        bench.result(bench.remotes.remove("north"))

    assert caught.value.code is Code.BUSY
    assert caught.value.message.startswith("remote north is removed, but")
    assert bench.result(bench.remotes.get("north")) is None
    reading.execute("COMMIT")
    bench.result(bench.remotes.wipe())
    assert not [one for one in gone if one in files(path)]
    reading.close()
    bench.result(database.close())


def test_environments_are_made_listed_and_edited(bench):
    made = bench.environment("south", "north", delete_delivered=True)
    bench.environment(name="idle")

    assert (made.remotes, made.delete_delivered, made.created_at) == (("north", "south"), True, bench.now())
    assert bench.result(bench.environments.get("acme", "live")) == made
    assert bench.result(bench.recordings.environment("acme", "live")) == made
    assert bench.result(bench.recordings.environment("acme", "none")) is None
    assert [one.name for one in bench.result(bench.environments.list())] == ["idle", "live"]
    edit = bench.environments.edit
    assert bench.result(edit("acme", "live", remotes=["south"])) == replace(made, remotes=("south",))
    assert bench.result(edit("acme", "live", delete_delivered=False)) == replace(
        made, remotes=("south",), delete_delivered=False
    )
    assert bench.result(edit("acme", "live", remotes=[])).remotes == ()


def test_environments_know_only_what_is_their_organisations(bench):
    bench.environment("north")
    bench.remote("theirs", organisation="other")

    create, edit = bench.environments.create, bench.environments.edit
    assert code(bench, create("acme", "live")) is Code.CONFLICT
    assert code(bench, create("acme", "Live")) is Code.INVALID
    assert code(bench, create("none", "live")) is Code.NOT_FOUND
    assert code(bench, create("acme", "second", ["theirs"])) is Code.NOT_FOUND
    assert code(bench, edit("acme", "live", remotes=["north", "nowhere"])) is Code.NOT_FOUND
    assert code(bench, edit("acme", "none")) is Code.NOT_FOUND
    assert code(bench, bench.environments.list("none")) is Code.NOT_FOUND
    assert [one.remotes for one in bench.result(bench.environments.list())] == [("north",)]


def test_an_environment_goes_when_its_pushes_have_ended(bench):
    _, pushes = waiting(bench, "north")

    assert code(bench, bench.environments.remove("acme", "live")) is Code.CONFLICT

    bench.clock.advance(60)
    bench.attempt(bench.claim_pushes()[0], PushState.GIVEN_UP)
    bench.result(bench.environments.remove("acme", "live"))
    assert bench.result(bench.environments.get("acme", "live")) is None
    assert code(bench, bench.environments.remove("acme", "live")) is Code.NOT_FOUND
    assert bench.push(pushes["north"]).state is PushState.GIVEN_UP


def test_keys_that_change_while_secrets_are_read_are_read_again(in_memory, monkeypatch):
    """Rows sealed with the old key were seen, and then it was forgotten."""
    from conch_pipe.catalog.queries import remotes

    in_memory.remote()
    look, looks = remotes.secrets, []

    def rotated_meanwhile(connection, name, keys):
        looks.append(name)
        if len(looks) == 1:
            raise PipeError(Code.FAILED, "cannot be unsealed")
        return look(connection, name, keys)

    monkeypatch.setattr(remotes, "secrets", rotated_meanwhile)

    assert in_memory.result(in_memory.remotes.secrets("north")) == SECRETS
    assert len(looks) == 2
