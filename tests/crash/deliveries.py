"""Recordings on their way to a server while the service is killed, and the accounts that must agree afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.installation import Installation
from tests.live import pushing
from tests.live.push_servers import WatchedServer
from tests.live.service import Service

ENVIRONMENTS = {"one": ("near",), "both": ("near", "far")}  # → remotes, which are folders of one server
SIZES = {"main": 200_000, "raw": 70_000, "snapshot": 3_000}


def prepare(installation: Service, peer: WatchedServer) -> None:
    """Remotes and environments, which delete what has been delivered."""
    for remote in ENVIRONMENTS["both"]:
        pushing.add_remote(installation, remote, peer, folder=remote)
    for environment, remotes in ENVIRONMENTS.items():
        words = [word for remote in remotes for word in ("--remote", remote)]
        installation.command("environment", "create", pushing.ORGANISATION, environment, *words, "--delete-delivered")


@dataclass
class Handed:
    """One recording as it was handed over."""

    environment: str
    files: dict[str, Path]
    content: dict[str, bytes]
    names: dict[str, str]  # role → name on the remote


@dataclass
class Deliveries:
    """What was handed to an installation, and what the server has of it."""

    installation: Installation
    peer: WatchedServer
    handed: dict[str, Handed] = field(default_factory=dict)

    def hand_over(self, recording: str, environment: str, main: int = SIZES["main"]) -> Handed:
        """Files and a manifest."""
        files = pushing.files_of(self.installation, recording, SIZES | {"main": main})
        content = {role: path.read_bytes() for role, path in files.items()}
        names = {role: f"{recording}{pushing.ENDS[role]}" for role in files}
        self.handed[recording] = Handed(environment, files, content, names)
        pushing.drop(self.installation, environment, recording, files)
        return self.handed[recording]

    def there(self, recording: str, remote: str) -> dict[str, bytes]:
        """Role → content on the remote, of those files that are there."""
        names = self.handed[recording].names
        found = {role: self.peer.files / remote / name for role, name in names.items()}
        return {role: path.read_bytes() for role, path in found.items() if path.exists()}

    def sent(self, recording: str, remote: str) -> int:
        """How often its main file was sent, also in part."""
        return self.peer.opened(f"{remote}/{self.handed[recording].names['main']}")

    def none_deleted_early(self) -> None:
        """A local file is gone only if all files are at all remotes. Needs nothing of the catalog."""
        for recording, handed in self.handed.items():
            gone = [role for role, path in handed.files.items() if not path.exists()]
            for remote in ENVIRONMENTS[handed.environment] if gone else ():
                assert self.there(recording, remote) == handed.content, f"{recording}: {gone} deleted, not at {remote}"

    def audit(self, *changed: str) -> None:
        """All accounts agree, with an idle service.

        :param changed: recordings whose files here were replaced after they were delivered.

        Each recording was recorded once, and is where it should be, as it was. Each push has counted the attempts that
        its log has, from 1 on without a gap; the last one was OK, and the only one. Delivered files are gone here.
        """
        installation = self.installation
        recorded = installation.ask("SELECT id FROM recordings ORDER BY id")
        assert recorded == [(one,) for one in sorted(self.handed)]
        for recording, handed in self.handed.items():
            remotes = ENVIRONMENTS[handed.environment]
            states, log = pushing.pushes(installation, recording), pushing.attempts(installation, recording)
            assert states == {remote: {"state": "DELIVERED", "attempts": 1} for remote in remotes}, (recording, states)
            assert log == {remote: [(1, "OK", "")] for remote in remotes}, (recording, log)
            for remote in remotes:
                assert self.there(recording, remote) == handed.content, f"{recording} at {remote}"
            left = [path for path in handed.files.values() if path.exists()]
            assert left == (list(handed.files.values()) if recording in changed else []), recording
        spool = installation.state / "recordings"
        assert list(spool.glob("*.json")) == list((spool / "refused").glob("*")) == []
