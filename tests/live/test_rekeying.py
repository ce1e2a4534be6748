"""New keys in the middle of a transfer: every client, every cipher, asked for by us, by them and by both at once.

``PIPE_DOSE=2`` and more: every client with each cipher and MAC that it can be told to use, in each of the three ways.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from tests.live.clients import CLIENTS, Client, Target
from tests.live.clients.openssh import Sftp, slow_put
from tests.live.clients.told import (
    Dropbear,
    Terms,
    Told,
    ToldAsyncssh,
    ToldLftp,
    ToldNode,
    ToldParamiko,
    ToldPsftp,
    ToldScp,
    ToldSftp,
)
from tests.live.conftest import had
from tests.live.service import Service, running

pytestmark = pytest.mark.live

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
MIB = 2**20
SIZE = 12_000_000
LEAST = 8  # of 11, as a window of data may be on its way when we ask
WITHIN_S = 20
TELLABLE = (ToldSftp, ToldScp, ToldLftp, ToldPsftp, ToldParamiko, ToldAsyncssh, ToldNode, Dropbear)
# Bytes after which the client asks: before we do, or just when we do.
WAYS = {"ours": 0, "theirs": 700_000, "both": MIB + 100_000}
# The guide's examples are clients that are here already.
AS_THEY_ARE = (*(one for one in CLIENTS if not one.name.startswith(("guide", "sftp typed"))), Dropbear())
_ENDED = re.compile(r"used (\S+) with (.+): new keys (\d+) times, (\d+) of them")


@pytest.fixture(scope="module")
def rekeying(tmp_path_factory) -> Iterator[Service]:
    """A service that asks for new keys every megabyte and every two seconds.

    Its window is small, so that few bytes come after it has asked; the client's order of ciphers decides, not ours.
    """
    settings = {
        "limits.rekey_bytes": MIB,
        "limits.rekey_s": 2,
        "limits.window_bytes": 128 * 1024,
        "limits.kexinit_wait_s": 0,
        "service.drain_s": 1,  # the queue may wait
    }
    with running(tmp_path_factory.mktemp("rekeying"), settings) as service:
        yield service


def table(path: Path, size: int) -> Path:
    """A CSV without two equal places, of few long rows: parsing them is not what is tested here."""
    with path.open("w") as file:
        written = file.write("transaction_id,store_id,sold_at,currency,gross_amount,note\n")
        while written < size:
            note = base64.b64encode(os.urandom(1400)).decode()
            written += file.write(f"T{written},S1,2026-03-01T04:00:00Z,EUR,1.00,{note}\n")
    return path


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """The file to put."""
    return table(tmp_path_factory.mktemp("local") / "table.csv", SIZE)


@dataclass(frozen=True)
class Keys:
    """What the service says of a connection that has ended."""

    cipher: str
    mac: str
    renewed: int
    asked_by_client: int


def put(service: Service, target: Target, client: Client, local: Path, name: str) -> Keys:
    """Put, compare the stored copy with the file, and return the keys of the connection that had most of them."""
    before = len(service.log_text())

    outcome = client.put(target, local, f"/orgTransactions/{name}")

    assert outcome.status == 0, f"{outcome}\n{service.log_text()[before:]}"
    keys = keys_since(service, before)
    stored(service, service.log_text()[before:], name, local)
    return keys


def keys_since(service: Service, before: int) -> Keys:
    """Of the connections since a place in the log, when all have ended."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        said = service.log_text()[before:]
        if 0 < said.count(" connected as ") == said.count(" ended after "):
            break
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
    assert "broke the SSH protocol" not in said
    ended = [Keys(cipher, mac, int(new), int(asked)) for cipher, mac, new, asked in _ENDED.findall(said)]
    return max(ended, key=lambda keys: keys.renewed)


def stored(service: Service, said: str, name: str, local: Path) -> None:
    """The raw copy is the file, byte by byte."""
    (upload_id,) = re.findall(rf"upload (\S+): {re.escape(name)} of ", said)
    (copy,) = (service.folder / "state" / "objects").rglob(f"{upload_id}*")
    assert copy.read_bytes() == local.read_bytes(), f"{name} was stored with other bytes"


def suites(kind: type[Told]) -> list[Terms]:
    """Every cipher, and with those that need one every MAC, that a client can be told to use."""
    return [
        Terms(cipher, mac)
        for cipher in kind.ciphers
        for mac in ((kind.macs or ("",)) if cipher.endswith("-ctr") else ("",))
    ]


def pairs() -> Iterator[tuple[str, Told]]:
    """Way, client with its terms: all, or so many that each cipher, MAC, client and way occurs."""
    ways = cycle(WAYS)
    for number, kind in enumerate(TELLABLE):
        every = suites(kind)
        if DOSE > 1:
            chosen = [(way, terms) for terms in every for way in WAYS]
        elif kind is ToldSftp:
            chosen = list(zip(ways, (every[place] for place in (0, 1, 2, 3, 8, 13, 6)), strict=False))
        else:
            chosen = [(next(ways), every[(place + 3 * number) % len(every)]) for place in (0, len(every) // 2)]
        for way, terms in chosen:
            if kind.rekeys or way == "ours":
                yield way, kind(Terms(terms.cipher, terms.mac, WAYS[way]))


@pytest.mark.parametrize("client", AS_THEY_ARE, ids=lambda client: client.name.replace(" ", "-"))
def test_every_client_gives_new_keys_when_we_ask(client, rekeying, local, tmp_path):
    """With the cipher that it prefers."""
    keys = put(rekeying, rekeying.target(tmp_path / "scratch"), had(client), local, f"{tmp_path.name}.csv")

    assert keys.renewed >= LEAST, keys
    assert keys.asked_by_client == 0, f"{client.name} asks by itself now: say so in the table"


@pytest.mark.parametrize(
    ("way", "client"),
    [pytest.param(*pair, id=f"{pair[1].name}-{pair[0]}-{pair[1].terms}".replace(" ", "-")) for pair in pairs()],
)
def test_every_cipher_gets_new_keys_whoever_asks(way, client, rekeying, local, tmp_path):
    """Also when both sides ask at the same moment: neither waits for the other for ever."""
    keys = put(rekeying, rekeying.target(tmp_path / "scratch"), had(client), local, f"{tmp_path.name}.csv")

    assert keys.cipher == client.terms.cipher
    assert not client.terms.mac or keys.mac == client.terms.mac
    assert keys.renewed >= LEAST, keys
    if way == "ours":
        assert keys.asked_by_client == 0, keys
    elif way == "theirs":
        assert keys.asked_by_client >= LEAST, keys


def test_new_keys_come_with_time_too(rekeying, tmp_path):
    """In a put too slow to reach the bytes."""
    had(Sftp())
    local = table(tmp_path / "slow.csv", 600_000)
    before = len(rekeying.log_text())

    putting = slow_put(rekeying.target(tmp_path / "scratch"), local, "/orgTransactions/slow.csv", kbit_s=960)
    said, _ = putting.communicate(timeout=60)

    assert putting.returncode == 0, said
    keys = keys_since(rekeying, before)
    assert keys.renewed >= 2, keys
    stored(rekeying, rekeying.log_text()[before:], "slow.csv", local)
