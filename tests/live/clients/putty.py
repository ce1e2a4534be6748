"""PuTTY's psftp and pscp."""

from __future__ import annotations

from tests.live.clients.base import Client, Outcome, Target, run


class Psftp(Client):
    """``psftp -b FILE``."""

    name = "psftp"
    looks_first = True
    needs = ("psftp",)

    def batch(self, target: Target, *lines: str) -> Outcome:
        """Run lines as a batch; it ends with the first that fails."""
        script = target.file("psftp-batch", "".join(f"{line}\n" for line in lines))
        command = ["psftp", "-batch", "-P", str(target.port), "-pwfile", str(target.file("pw", target.password))]
        command += ["-hostkey", target.fingerprint, "-b", str(script), f"{target.username}@{target.host}"]
        return run(target, command)

    def put(self, target, local, remote):
        folder, _, name = remote.rpartition("/")
        return self.batch(target, *([f"cd {folder}"] if folder else []), f'put "{local}" "{name}"')

    def get(self, target, remote, local):
        return self.batch(target, f'get "{remote}" "{local}"')

    def mkdir(self, target, path):
        return self.batch(target, f'mkdir "{path}"')

    def remove(self, target, path):
        return self.batch(target, f'rm "{path}"')


class Pscp(Client):
    """``pscp``, which ignores the answer to CLOSE (pscp.c, scp_send_finish)."""

    name = "pscp"
    needs = ("pscp",)
    can = frozenset({"get"})
    blind_at_close = True

    def copy(self, target: Target, source: str, destination: str) -> Outcome:
        """pscp SOURCE DESTINATION, one of them remote."""
        command = ["pscp", "-batch", "-q", "-P", str(target.port), "-pwfile", str(target.file("pw", target.password))]
        return run(target, [*command, "-hostkey", target.fingerprint, source, destination])

    def put(self, target, local, remote):
        return self.copy(target, str(local), f"{target.username}@{target.host}:{remote}")

    def get(self, target, remote, local):
        return self.copy(target, f"{target.username}@{target.host}:{remote}", str(local))
