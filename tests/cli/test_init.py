"""What ``init`` makes, and that it never harms what is there."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from conch_pipe.cli.session import now
from conch_pipe.settings import load
from tests.cli.conftest import Installation


def test_init_makes_an_installation_the_service_can_use(installed):
    settings = load(installed.config)

    assert settings.service.state == installed.state
    assert sorted(path.name for path in settings.schemas.folder.iterdir()) == [
        "orgShifts.toml",
        "orgTransactionDetail.toml",
        "orgTransactions.toml",
    ]
    assert now(installed.catalog().organisations.list()) == ()


def test_nothing_in_the_state_is_for_others(installed):
    open_ = [path for path in installed.state.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]

    assert open_ == []


def test_the_demo_organisation_can_send_every_shipped_schema(installed):
    made = installed.bare("init", str(installed.state), "--demo", "--json").json

    assert set(made) == {
        *("config", "ssh_port", "http_port", "host_keys", "organisation", "client_id", "client_secret")
    }
    assert (made["config"], made["ssh_port"]) == (str(installed.config), 2222)
    assert [key["name"] for key in made["host_keys"]] == ["ssh_host_ed25519_key", "ssh_host_rsa_key"]
    assert all(key["fingerprint"].startswith("SHA256:") for key in made["host_keys"])
    shown = installed.json("org", "show", made["organisation"])
    assert shown["schemas"] == ["orgShifts", "orgTransactionDetail", "orgTransactions"]
    assert [one["client_id"] for one in shown["credentials"]] == [made["client_id"]]


def test_a_second_run_changes_nothing_and_shows_no_secret(installed):
    first = installed.bare("init", str(installed.state), "--demo", "--json").json
    written = {path: path.read_bytes() for path in installed.state.rglob("*.toml")}

    second = installed.bare("init", str(installed.state), "--demo", "--json").json

    assert second == first | {"client_secret": None}
    assert written == {path: path.read_bytes() for path in installed.state.rglob("*.toml")}
    people = installed.bare("init", str(installed.state), "--demo").out
    assert "credential rotate" in people
    assert first["client_secret"] not in people


def test_people_are_told_how_to_try_it(installed):
    out = installed.bare("init", str(installed.state), "--demo").out

    assert "sftp -P 2222 pipe_" in out
    assert out.count("SHA256:") == 2
    assert "    http://127.0.0.1:8022/\n" in out


def test_an_http_port_that_was_chosen_is_told_as_an_address(tmp_path):
    here = Installation(tmp_path)

    out = here.bare("init", str(here.state), "--demo", "--http-port", "8080").out

    assert "    http://127.0.0.1:8080/\n" in out
    assert load(here.config).http.port == 8080
    again = here.bare("init", str(here.state), "--http-port", "8081")
    assert (again.status, "change ports and interface there" in again.err) == (1, True)


def test_what_is_missing_is_made_again(installed):
    (installed.state / "keys" / "ssh_host_ed25519_key").unlink()
    (installed.state / "schemas" / "orgShifts.toml").unlink()
    (installed.state / "spool").rmdir()

    assert installed.bare("init", str(installed.state)).status == 0

    assert load(installed.config).ssh.port == 2222
    assert (installed.state / "schemas" / "orgShifts.toml").exists()


def test_an_operators_own_schema_file_is_kept(installed):
    mine = installed.state / "schemas" / "orgShifts.toml"
    mine.write_text(mine.read_text() + "# mine\n")

    installed.bare("init", str(installed.state))

    assert mine.read_text().endswith("# mine\n")


def test_port_and_interface_are_written_and_never_overwritten(installed, tmp_path):
    (tmp_path / "state" / "pipe-sftp.toml").unlink()
    words = ("init", str(installed.state), "--port", "2022", "--interface", "127.0.0.1")

    assert installed.bare(*words).status == 0
    assert (load(installed.config).ssh.port, load(installed.config).ssh.interface) == (2022, "127.0.0.1")
    refused = installed.bare(*words, "--json")
    assert (refused.status, refused.json["error"]["code"]) == (1, "conflict")


def test_the_settings_may_be_elsewhere(installed, tmp_path):
    file = tmp_path / "etc" / "pipe-sftp.toml"

    made = installed.bare("--config", str(file), "init", str(installed.state), "--json").json

    assert made["config"] == str(file)
    assert load(file).service.state == installed.state
    other = installed.bare("--config", str(file), "init", str(tmp_path / "other"), "--json")
    assert (other.status, other.json["error"]["code"]) == (1, "conflict")


def test_settings_with_mistakes_are_refused_with_all_of_them(installed):
    installed.config.write_text("[ssh]\nprot = 1\nport = 'x'\n")

    ran = installed.bare("init", str(installed.state), "--json")

    assert ran.status == 5
    assert len(ran.json["error"]["mistakes"]) == 2


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, place):
    (tmp_path / "file").write_text("")

    ran = Installation(tmp_path).bare("init", str(tmp_path / place), "--json")

    assert ran.status in (1, 2)
    assert "error" in ran.json


def test_the_environment_counts_for_the_port_that_is_told(installed, monkeypatch):
    monkeypatch.setenv("PIPE_SFTP_SSH__PORT", "2044")

    assert installed.bare("init", str(installed.state), "--json").json["ssh_port"] == 2044


def test_the_command_is_quick_to_help_and_imports_no_database():
    """The promise is 0.3 s for --help; what makes it slow is an import, which is what can be tested."""
    heavy = "sqlalchemy", "duckdb", "pydantic", "cryptography", "rich", "twisted.internet.reactor"
    asked = f"import sys, conch_pipe.cli; print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_installed_command_tells_its_exit_codes():
    done = subprocess.run(
        [str(Path(sys.executable).parent / "conch-pipe"), "--help"], capture_output=True, text=True, check=True
    )

    assert "5 settings" in done.stdout
    assert "conch-pipe init state --demo" in done.stdout


def test_the_key_that_seals_is_made_once_and_for_nobody_else(installed):
    path = load(installed.config).secrets.key_file
    made = path.read_bytes()

    installed.bare("init", str(installed.state))

    assert (path, stat.S_IMODE(path.stat().st_mode)) == (installed.state / "keys" / "secrets.key", 0o600)
    assert path.read_bytes() == made
    assert len(made) == 45


def test_a_sealing_key_that_others_can_read_is_told_by_init_and_check(installed):
    path = load(installed.config).secrets.key_file
    path.chmod(0o640)

    refused = installed.bare("init", str(installed.state))
    found = installed.json("check", status=1)["findings"]

    assert (refused.status, "others can read it" in refused.err) == (1, True)
    assert [one["level"] for one in found if one["what"] == "secrets"] == ["fail"]
