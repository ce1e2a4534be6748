"""The whole service as assembly builds it, and the settings it is built from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from conch_pipe import assembly, gateway, tap
from conch_pipe.assembly import doors, outgoing, stores
from conch_pipe.errors import Mistakes
from conch_pipe.operations import connecting
from conch_pipe.settings import Settings
from conch_pipe.ssh.server.hostkeys import generate
from conch_pipe.ssh.transport.algorithms import SERVER

# Taken as a whole: limits by ssh(), files by model_dump(), http by web() but for where it listens.
WHOLE = {"limits", "files", "http"}


def test_no_setting_is_without_effect():
    """A setting that nothing reads is a promise nobody keeps."""
    readers = (assembly, doors, outgoing, stores, connecting, gateway, tap)
    text = "".join(Path(module.__file__).read_text() for module in readers)
    text = text.replace("uploads = settings.uploads", "").replace("uploads.", "settings.uploads.")
    unread = [
        f"{section}.{name}"
        for section in Settings.model_fields
        if section not in WHOLE
        for name in type(getattr(Settings(), section)).model_fields
        if not re.search(rf"settings\.{section}\.{name}\b", text)
    ]

    assert unread == []


def refused(**ssh: object) -> list[str]:
    """What the start is refused for."""
    with pytest.raises(Mistakes) as caught:
        doors.load_host_keys(Settings.model_validate({"ssh": ssh}))
    return caught.value.mistakes


def weak_key(path: Path) -> Path:
    """An RSA key of 2048 bits."""
    key = generate_private_key(65537, 2048)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return path


def test_all_that_is_wrong_with_host_keys_and_presets_is_told_at_once(tmp_path):
    weak = weak_key(tmp_path / "weak")
    (tmp_path / "copy").write_bytes(weak.read_bytes())
    (tmp_path / "copy").chmod(0o600)

    told = refused(
        host_keys=[tmp_path / "gone", weak, tmp_path / "copy"],
        retiring_host_keys=[tmp_path / "other"],
        algorithms="strict-2026",
        algorithms_from={"192.0.2.1": "default-2026", "192.0.2.2": "strict-2026", "192.0.2.3": "strict-2026"},
    )

    needed = "strict-2026 needs an Ed25519 host key, or an RSA one of 3072 bits: there is none"
    assert told == [
        f"{tmp_path}/gone: No such file or directory",
        f"{tmp_path}/copy: the same key as {weak}",
        f"{tmp_path}/other: retiring, but not one of the host keys",
        f"ssh.algorithms: {needed}",
        f"ssh.algorithms_from: {needed}",
    ]


def test_of_a_missing_key_no_second_thing_is_said(tmp_path):
    assert refused(host_keys=[tmp_path / "gone"]) == [f"{tmp_path}/gone: No such file or directory"]


def test_strict_does_not_start_without_post_quantum_cryptography(tmp_path, monkeypatch):
    """Where OpenSSL lacks it, the preset has no key exchange at all."""
    generate(tmp_path / "key", "ed25519")
    monkeypatch.setitem(SERVER, "strict-2026", replace(SERVER["strict-2026"], exchanges=()))

    told = refused(host_keys=[tmp_path / "key"], algorithms_from={"192.0.2.0/24": "strict-2026"})

    assert told == ["ssh.algorithms_from: strict-2026 needs ML-KEM, which this OpenSSL has not (3.5 has it)"]


def test_a_key_that_stays_is_needed(tmp_path):
    generate(tmp_path / "key", "ed25519")

    told = refused(host_keys=[tmp_path / "key"], retiring_host_keys=[tmp_path / "key"])

    assert told == ["all host keys are retiring: there must be one that stays"]


def test_several_host_keys_are_all_loaded(tmp_path):
    for name in ("rsa", "old", "new"):
        generate(tmp_path / name, "rsa" if name == "rsa" else "ed25519")
    settings = Settings.model_validate({"ssh": {"host_keys": [tmp_path / "rsa", tmp_path / "old", tmp_path / "new"]}})

    assert [key.type() for key in doors.load_host_keys(settings).values()] == ["RSA", "Ed25519", "Ed25519"]
