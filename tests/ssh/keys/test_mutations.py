"""Whatever is changed in a key's file, it is refused or read, and nothing of it is said."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_pipe.ssh.keys import KeyRefused, PrivateKey, public_blob, read
from tests.ssh.keys import forge
from tests.ssh.keys.forge import EVERY, FORMS, PASSPHRASE
from tests.ssh.keys.spoken import leaks

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
# PuTTYgen's OpenSSH files cost 16 rounds of bcrypt each time; those of ssh-keygen here have one.
QUICK = [
    (form, kind)
    for form, kind in EVERY
    if form != "putty-openssh-passphrase" and kind in ("rsa", "ed25519", "nistp256")
]

edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "drop", "repeat", "insert", "number"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=3,
)


def edited(data: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    """The same with changes at some places."""
    out = bytearray(data)
    for what, where, value in changes:
        at = int(where * len(out))
        size = value % 40
        if what == "flip" and out:
            out[at] ^= 1 << value % 8
        elif what == "set" and out:
            out[at] = value % 256
        elif what == "cut":
            del out[at:]
        elif what == "drop":
            del out[at : at + size]
        elif what == "repeat":
            out[at:at] = out[at : at + size]
        elif what == "insert":
            out[at:at] = value.to_bytes(4, "big")[: value % 5]
        elif what == "number":
            out[at : at + 4] = value.to_bytes(4, "big")
    return bytes(out)


def inside(data: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    """The same changes in what the longest base64 of a text says."""
    rows = data.splitlines()
    runs: list[list[int]] = [[]]
    for number, row in enumerate(rows):
        if row and b":" not in row and b"-" not in row:
            runs[-1].append(number)
        elif runs[-1]:
            runs.append([])
    longest = max(runs, key=len)
    if not longest:
        return edited(data, changes)
    body = b64encode(edited(b64decode(b"".join(rows[number] for number in longest)), changes))
    folded = [body[at : at + 64] for at in range(0, len(body), 64)]
    if data.startswith(b"PuTTY"):
        folded = [body] + [b""] * (len(longest) - 1)  # the number of lines stands before them
    return b"\n".join(rows[: longest[0]] + folded + rows[longest[-1] + 1 :]) + b"\n"


def read_or_refused(data: bytes, passphrase: bytes | None, *secrets: bytes) -> None:
    """The promise."""
    try:
        key = read(data, passphrase)
    except KeyRefused as error:
        assert leaks(error, data, PASSPHRASE, *secrets) == []
        return
    assert isinstance(key, PrivateKey)
    assert key.conch.public().verify(key.conch.sign(b"data"), b"data")
    assert read(key.openssh()).blob == key.blob


@pytest.mark.parametrize("deep", [False, True], ids=["the text", "what the base64 says"])
def test_a_changed_file_is_refused_or_read(deep):
    @settings(max_examples=400 * DOSE, deadline=None)
    @given(st.sampled_from(QUICK), edits, st.sampled_from([PASSPHRASE, None, b"other"]))
    def check(which, changes, passphrase):
        form, kind = which
        data = forge.file(form, kind)
        changed = inside(data, changes) if deep and FORMS[form].text else edited(data, changes)
        read_or_refused(changed, passphrase, data)

    check()


@settings(max_examples=300 * DOSE, deadline=None)
@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_refused(data):
    read_or_refused(data, PASSPHRASE)


HEADS = [
    b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
    b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,",
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
    b"-----BEGIN PRIVATE KEY-----\n",
    b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\\\n",
    b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: aes256-cbc\n",
    b"PuTTY-User-Key-File-2: ssh-rsa\nPublic-Lines: 1\n",
    b"ssh-ed25519 AAAA",
    b"\x30\x82",
]


@settings(max_examples=300 * DOSE, deadline=None)
@given(st.sampled_from(HEADS), st.binary(max_size=200), st.booleans())
def test_what_only_begins_like_a_key_is_refused(head, data, coded):
    ends = b"\n-----END OPENSSH PRIVATE KEY-----\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n"

    read_or_refused(head + (b64encode(data) if coded else data) + ends, PASSPHRASE)


@settings(max_examples=300 * DOSE, deadline=None)
@given(st.sampled_from(["rsa", "ed25519", "nistp256"]), edits, st.booleans())
def test_a_changed_host_key_is_refused_or_read(kind, changes, deep):
    name, text, comment = forge.openssh(kind).with_suffix(".openssh.pub").read_bytes().split(b" ", 2)
    if deep:
        line = b" ".join((name, b64encode(edited(b64decode(text), changes)), comment))
    else:
        line = edited(b" ".join((name, text, comment)), changes)
    try:
        blob = public_blob(line)
    except KeyRefused as error:
        assert leaks(error, text) == []
    else:
        assert public_blob(b64encode(blob)) == blob


# What is said.


@pytest.mark.parametrize("form", FORMS)
def test_no_refusal_says_anything_of_a_key_or_a_passphrase(form):
    """In its text, its causes, its traceback and the local names in it."""
    for kind in FORMS[form].kinds:
        data, wrong = forge.file(form, kind), b"wrong " + PASSPHRASE
        inner = read(data, PASSPHRASE).openssh()
        begun = data.replace(b"-----BEGIN", b"-----BEGUN")

        for changed, passphrase in ((data, wrong), (data, None), (data[:-60], PASSPHRASE), (begun, None)):
            try:
                read(changed, passphrase)
            except KeyRefused as error:
                assert leaks(error, data, inner, wrong) == []
                assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("kind", forge.ALL)
def test_a_key_shows_what_is_public_and_no_more(kind):
    key = read(forge.file("openssh", kind))

    assert repr(key) == str(key) == f"<PrivateKey {key.algorithm} {key.bits} {key.fingerprint}>"
    assert len(f"{key!r}") < 120
