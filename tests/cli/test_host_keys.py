"""``conch-pipe host-key``."""

from __future__ import annotations

from conch_pipe.ssh.server.hostkeys import fingerprint, generate, load


def test_list_tells_what_each_key_is_for(installed, monkeypatch):
    keys = installed.state / "keys"
    generate(keys / "new", "ed25519")
    paths = [keys / name for name in ("ssh_host_ed25519_key", "new", "ssh_host_rsa_key")]
    monkeypatch.setenv("PIPE_SFTP_SSH__HOST_KEYS", ",".join(map(str, paths)))
    monkeypatch.setenv("PIPE_SFTP_SSH__RETIRING_HOST_KEYS", str(paths[0]))

    told = installed.json("host-key", "list")

    assert [(one["file"], one["kind"], one["use"]) for one in told] == [
        (str(paths[0]), "Ed25519", "signs, retiring"),
        (str(paths[1]), "Ed25519", "announced"),
        (str(paths[2]), "RSA", "signs"),
    ]
    assert [one["fingerprint"] for one in told] == [fingerprint(load(path)) for path in paths]


def test_list_refuses_keys_that_the_service_would_refuse(installed, monkeypatch):
    monkeypatch.setenv("PIPE_SFTP_SSH__RETIRING_HOST_KEYS", "keys/other")

    ran = installed.run("host-key", "list")

    assert ran.status != 0
    assert "keys/other: retiring, but not one of the host keys" in ran.out + ran.err
