"""Settings: every source, every mistake at once, and the reference that cannot drift."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from conch_pipe.assembly.doors import AROUND_A_FILE
from conch_pipe.errors import Mistakes, PipeError
from conch_pipe.formats import limits as formats
from conch_pipe.intake import admission
from conch_pipe.intake.temporary_names import TemporaryNames
from conch_pipe.login.core import Rules as LoginRules
from conch_pipe.settings import Settings, Ssh, find, load, local_path, origins, reference, short_file
from conch_pipe.settings.values import Preset
from conch_pipe.sftp.service import Rules
from conch_pipe.ssh import limits as ssh
from conch_pipe.ssh.transport.algorithms import SERVER
from conch_pipe.web.limits import Limits as WebLimits
from tests.conftest import CANARY

ETC = Path(__file__).parents[2] / "etc" / "pipe-sftp.toml"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIPE_SFTP_")] + ["CREDENTIALS_DIRECTORY"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "pipe-sftp.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def usable(tmp_path):
    """What init leaves: keys and schemas are there."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "schemas").mkdir()
    for name in ("ssh_host_ed25519_key", "ssh_host_rsa_key"):
        (tmp_path / "keys" / name).write_text("key")


def mistakes(path: Path, **options: bool) -> list[str]:
    with pytest.raises(Mistakes) as caught:
        load(path, **options)
    return caught.value.mistakes


def test_the_reference_in_etc_is_the_rendered_model():
    assert ETC.read_text() == reference()


def test_the_reference_without_its_comment_signs_is_the_defaults(write):
    text = re.sub(r"(?m)^#(?=\w+ = )", "", reference())

    read = load(write(text), places=False)

    assert {name: getattr(read, name) for name in Settings.model_fields} == {
        name: getattr(load(write(""), places=False), name) for name in Settings.model_fields
    }


def test_every_setting_has_a_sentence_and_times_and_sizes_tell_their_unit():
    for section in Settings.model_fields:
        for name, field in type(getattr(Settings(), section)).model_fields.items():
            assert field.description and field.description.endswith((".", ",")), (section, name)
            assert name.endswith(("_s", "_days", "_share")) == (field.annotation is float), name


def test_the_limits_are_those_of_the_ssh_server():
    """A limit that one side does not know could not be set, or would be set to no effect."""
    assert ssh.Limits(**Settings().limits.ssh()) == ssh.Limits()
    assert set(Settings().limits.ssh()) == {field.name for field in fields(ssh.Limits)}


def test_the_rooms_say_the_same_where_they_have_defaults_of_their_own():
    files, disk, uploads, spool = Settings().files, Settings().disk, Settings().uploads, Settings().spool

    assert formats.Limits.of(files.model_dump()) == formats.Limits()
    assert (
        admission.Limits(
            max_bytes=uploads.max_bytes,
            same_bytes_within_s=uploads.same_bytes_within_s,
            verdict_wait_s=uploads.wait_for_verdict_s,
            lag_bytes=spool.lag_bytes,
            sync_bytes=spool.sync_bytes,
            **disk.model_dump(),
        )
        == admission.Limits()
    )
    limits = Settings().limits
    assert (
        Rules(
            connections_per_client=limits.per_client,
            files_remembered=limits.remembered,
            elsewhere_s=uploads.stat_elsewhere_s,
            leftover_s=uploads.leftover_s,
        )
        == Rules()
    )
    assert LoginRules(limits.failures_per_minute, limits.delay_s, limits.login_s) == LoginRules()
    assert WebLimits(**Settings().http.web()) == WebLimits(body_bytes=uploads.max_bytes + AROUND_A_FILE)
    assert TemporaryNames(uploads.temporary_suffixes, uploads.temporary_prefixes) == TemporaryNames()


def test_an_empty_file_gives_the_defaults(write):
    settings = load(write(""), places=False)

    assert settings.ssh.port == 2222
    assert settings.uploads.max_bytes == 104_857_600
    assert settings.uploads.same_bytes_within_s == 86_400


def test_the_presets_are_those_of_the_ssh_server():
    assert get_args(Preset) == tuple(SERVER)


@pytest.mark.parametrize(
    "text",
    [
        '[ssh]\nalgorithms_from = {"192.0.2.10" = "legacy-2026", "192.0.2.0/24" = "strict-2026"}\n',
        '[ssh.algorithms_from]\n"192.0.2.10" = "legacy-2026"\n"192.0.2.0/24" = "strict-2026"\n',
        "192.0.2.10=legacy-2026, 192.0.2.0/24 = strict-2026",
        '{"192.0.2.10": "legacy-2026", "192.0.2.0/24": "strict-2026"}',
    ],
)
def test_presets_for_single_networks_keep_their_order_wherever_they_are_written(text, write, monkeypatch):
    """The first one that fits decides; a process that takes connections gets them as JSON."""
    if not text.startswith("[ssh"):
        monkeypatch.setenv("PIPE_SFTP_SSH__ALGORITHMS_FROM", text)
        text = ""

    settings = load(write(text), places=False)

    handed_over = Settings.model_validate(json.loads(json.dumps(settings.model_dump(mode="json"))))
    for one in (settings, handed_over):
        assert list(one.ssh.algorithms_from.items()) == [("192.0.2.10", "legacy-2026"), ("192.0.2.0/24", "strict-2026")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('algorithms = "legacy"', 'must be "default-2026", "strict-2026" or "legacy-2026", not \'legacy\''),
        ('algorithms_from = {"192.0.2.10" = "old"}', 'must be "default-2026", "strict-2026" or "legacy-2026"'),
        ('algorithms_from = {"partner" = "legacy-2026"}', "an address or a network is needed, like 10.0.0.0/8"),
        ('algorithms_from = ["192.0.2.10"]', 'needed, like {"192.0.2.10" = "legacy-2026"}, not'),
        ('algorithms_from = "192.0.2.10"', 'needed, like {"192.0.2.10" = "legacy-2026"}, not'),
        ('[ssh.algorithms_from]\n"192.0.2.10" = "old"', "line 2: ssh.algorithms_from: must be"),
    ],
)
def test_presets_that_are_none_are_refused(text, told, write):
    (mistake,) = mistakes(write(f"[ssh]\n{text}\n"), places=False)

    assert told in mistake


def test_settings_cannot_be_changed(write):
    with pytest.raises(ValidationError):
        load(write(""), places=False).ssh.port = 1


def test_paths_are_relative_to_the_file_and_the_state(write, tmp_path, monkeypatch):
    """The working directory of the command must not matter."""
    monkeypatch.chdir("/")

    settings = load(write('[service]\nstate = "var"\n[catalog]\nurl = "sqlite:////srv/c.sqlite"\n'), places=False)

    assert settings.service.state == tmp_path / "var"
    assert settings.spool.folder == tmp_path / "var" / "spool"
    assert settings.ssh.host_keys[0] == tmp_path / "var" / "keys" / "ssh_host_ed25519_key"
    assert settings.objects.url == f"file:{tmp_path}/var/objects"
    assert settings.catalog.url == "sqlite:////srv/c.sqlite"


def test_the_environment_overrides_the_file(write, monkeypatch):
    monkeypatch.setenv("PIPE_SFTP_SSH__PORT", "0")
    monkeypatch.setenv("PIPE_SFTP_UPLOADS__TEMPORARY_SUFFIXES", ".a, .b")
    monkeypatch.setenv("PIPE_SFTP_UPLOADS__MAX_BYTES", "2 MiB")
    monkeypatch.setenv("PIPE_SFTP_SSH__HOST_KEYS", '["/k/one"]')

    settings = load(write("[ssh]\nport = 22\ninterface = '::1'\n"), places=False)

    assert settings.ssh == Ssh(port=0, interface="::1", host_keys=(Path("/k/one"),))
    assert settings.uploads.temporary_suffixes == (".a", ".b")
    assert settings.uploads.max_bytes == 2 * 1024**2
    assert origins(settings)["ssh", "port"] == "environment PIPE_SFTP_SSH__PORT"
    assert origins(settings)["ssh", "interface"] == "file"
    assert origins(settings)["ssh", "endpoint"] == "default"


def test_systemd_credentials_stand_between_environment_and_file(write, tmp_path, monkeypatch):
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "pipe_sftp_catalog__url").write_text("sqlite:////srv/c\n")
    (folder / "PIPE_SFTP_SSH__PORT").write_text("2022")
    (folder / "ssh_host_ed25519_key").write_text("key")
    (folder / "pipe-sftp-secrets-key").write_text("key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    monkeypatch.setenv("PIPE_SFTP_SSH__PORT", "2023")

    settings = load(write("[ssh]\nport = 22\nhost_keys = ['mine']\n"), places=False)

    assert settings.catalog.url == "sqlite:////srv/c"
    assert settings.ssh.port == 2023
    assert settings.ssh.host_keys == (folder / "ssh_host_ed25519_key",)
    assert origins(settings)["catalog", "url"] == "credential pipe_sftp_catalog__url"
    assert settings.secrets.key_file == folder / "pipe-sftp-secrets-key"
    assert origins(settings)["secrets", "key_file"] == "credential pipe-sftp-secrets-key"


def test_all_mistakes_are_told_at_once(write, monkeypatch):
    monkeypatch.setenv("PIPE_SFTP_SHS__PORT", "1")
    monkeypatch.setenv("PIPE_SFTP_LOG_LEVEL", "info")
    monkeypatch.setenv("PIPE_SFTP_SSH__PORT", "many")
    monkeypatch.setenv("PIPE_SFTP_SERVICE_HOST", "10.0.0.1")  # Kubernetes sets this; it is not ours

    found = mistakes(
        write(
            "workres = 1\n[ssh]\nprot = 3\n[limits]\nconnections = true\nlogin_s = 0\n[uploads]\nmax_bytes = '2 XB'\n"
            "drain_s = 1\ntemporary_names = 'maybe'\n[log]\nlevel = 'loud'\n"
        )
    )

    assert found == [
        "environment PIPE_SFTP_LOG_LEVEL: write two underscores, PIPE_SFTP_LOG__LEVEL",
        "environment PIPE_SFTP_SHS__PORT: no such section; did you mean ssh?",
        "environment PIPE_SFTP_SSH__PORT: ssh.port: a whole number is needed, not 'many'",
        "line 1: workres: no such section; did you mean workers?",
        "line 3: ssh.prot: no such setting; did you mean port?",
        "line 5: limits.connections: a number is needed, not true",
        "line 6: limits.login_s: must be more than 0, not 0",
        "line 8: uploads.max_bytes: bytes are needed, as a whole number or as text like \"2 MiB\", not '2 XB'",
        "line 9: uploads.drain_s: no such setting; it belongs to [service]",
        "line 10: uploads.temporary_names: true or false is needed, not 'maybe'",
        'line 12: log.level: must be "debug", "info", "warn" or "error", not \'loud\'',
    ]


def test_a_copy_may_not_outlive_its_record(write):
    found = mistakes(write("[kept]\ncopies_days = 0\n"), places=False)

    assert found == ["line 1: kept: records_days must not be less than copies_days: a copy would lose its record"]


def test_a_delayed_answer_may_not_outlast_the_login(write):
    assert "delay_s must be less" in mistakes(write("[limits]\nlogin_s = 10\n"))[0]


def test_a_network_with_bits_beyond_its_prefix_is_a_mistake(write):
    found = mistakes(write('[ssh]\nproxy_from = ["10.0.0.0/8", "10.0.0.1/8"]\n'), places=False)

    assert found == [
        "line 2: ssh.proxy_from: an address or a network is needed, like 10.0.0.0/8: 10.0.0.1/8 has host bits set, "
        "not '10.0.0.1/8'"
    ]


def test_missing_files_and_unusable_folders_are_told_together(write, tmp_path):
    (tmp_path / "spool").write_text("a file")
    (tmp_path / "catalog.sqlite").mkdir()
    (tmp_path / "recordings").write_text("a file")

    found = "\n".join(mistakes(write("[push]\nroots = ['media']\n")))

    for name in ("ssh_host_ed25519_key", "ssh_host_rsa_key", "spool.folder", "catalog.url", "schemas.folder"):
        assert name in found
    for name in ("push.spool", "push.roots"):
        assert name in found


def test_settings_that_init_left_are_usable(write, usable):
    assert load(write("")).ssh.port == 2222


def test_broken_toml_is_told_with_its_line(write):
    assert "line 2" in mistakes(write("[ssh]\nport = \n"))[0]


def test_a_file_that_is_not_text_is_one_mistake(tmp_path):
    path = tmp_path / "pipe-sftp.toml"
    path.write_bytes(b"\xff\xfe")

    assert "not UTF-8" in mistakes(path)[0]


def test_a_url_with_a_password_is_never_repeated(write):
    found = mistakes(write(f'[catalog]\nurl = "://user:{CANARY}@host"\n'), places=False)

    assert len(found) == 1
    assert CANARY not in found[0]


def test_orders_to_the_library_are_no_settings(write):
    assert mistakes(write("_env_file = '/etc/passwd'\n"), places=False) == ["line 1: _env_file: no such section"]


def test_a_credential_that_is_no_text_is_a_mistake_and_not_shown(write, tmp_path, monkeypatch):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "blob").write_bytes(CANARY.encode() + b"\xff")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))

    (found,) = mistakes(write(""), places=False)

    assert "CREDENTIALS_DIRECTORY" in found
    assert CANARY not in found


def test_a_named_file_that_is_not_there_is_told(tmp_path):
    assert "cannot be read" in mistakes(tmp_path / "nowhere.toml")[0]


def test_files_are_looked_for_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("conch_pipe.settings.loading.PLACES", ("pipe-sftp.toml", "state/pipe-sftp.toml"))
    with pytest.raises(PipeError, match="conch-pipe init"):
        find()

    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "pipe-sftp.toml").touch()
    assert find() == tmp_path / "state" / "pipe-sftp.toml"
    (tmp_path / "pipe-sftp.toml").touch()
    assert find() == tmp_path / "pipe-sftp.toml"
    monkeypatch.setenv("PIPE_SFTP_CONFIG", "/elsewhere.toml")
    assert find() == Path("/elsewhere.toml")
    assert find("given.toml") == tmp_path / "given.toml"


def test_a_short_file_reads_back_whatever_the_names_hold(write):
    chosen = {"ssh": {"port": 0, "endpoint": 'a "b" \\ \x7f é'}, "disk": {"free_bytes": 0}}

    assert tomllib.loads(short_file(chosen)) == chosen


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:objects", "objects"),
        ("file:///srv/objects", "/srv/objects"),
        ("sqlite:///c", "c"),
        ("sqlite:////srv/c", "/srv/c"),
        ("postgresql://h/d", None),
    ],
)
def test_local_urls_have_a_path(url, path):
    assert local_path(url) == (Path(path) if path else None)
