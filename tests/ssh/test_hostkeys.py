"""Host keys in files."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from conch_pipe.ssh.server.hostkeys import HostKeyError, fingerprint, generate, load
from tests.conftest import CANARY


class HostKeys(SynchronousTestCase):
    """Made, loaded, refused."""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "key")

    def refusal(self) -> str:
        error = self.assertRaises(HostKeyError, load, self.path)
        self.assertIsNone(error.__cause__)
        self.assertTrue(error.__suppress_context__ or error.__context__ is None)
        return str(error).removeprefix(f"{self.path}: ")

    def test_a_new_key_is_ours_alone_and_ssh_keygen_reads_it(self) -> None:
        for kind, bits in (("ed25519", "256"), ("rsa", "3072")):
            path = self.path.with_suffix("." + kind)
            generate(path, kind)

            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
            shown = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout
            self.assertEqual(shown.split()[:2], [bits, fingerprint(load(path))])

    def test_a_key_is_never_written_over(self) -> None:
        generate(self.path, "ed25519")
        before = self.path.read_bytes()

        self.assertRaises(HostKeyError, generate, self.path, "ed25519")

        self.assertEqual(self.path.read_bytes(), before)

    def test_an_unknown_kind_is_refused(self) -> None:
        self.assertRaises(HostKeyError, generate, self.path, "dsa")

    def test_a_missing_file_is_named(self) -> None:
        self.assertEqual(self.refusal(), "No such file or directory")

    def test_a_folder_is_no_key(self) -> None:
        self.path.mkdir()
        self.assertEqual(self.refusal(), "not a file")

    def test_a_key_others_can_read_is_refused(self) -> None:
        generate(self.path, "ed25519")
        if os.getuid() == 0:
            os.chown(self.path, 65534, 65534)
        for mode in (0o640, 0o604, 0o620, 0o601):
            self.path.chmod(mode)
            self.assertEqual(self.refusal(), "others can read it: chmod 600")

    def test_a_credential_handed_over_by_systemd_is_a_key(self) -> None:
        """It is root's, with an ACL for the service's user, whose mask stat shows as the group's bits."""
        if os.getuid() != 0:
            raise SkipTest("only root can make root's files")
        generate(self.path, "ed25519")
        self.path.chmod(0o440)

        self.assertEqual(load(self.path).type(), "Ed25519")

    def test_what_is_no_key_is_refused_without_its_text(self) -> None:
        """Conch's BadKeyError has the whole file in it."""
        key = ec(SECP256R1())
        secret = BestAvailableEncryption(CANARY.encode())
        texts = (
            b"",
            b"\xff\xfe" + CANARY.encode(),
            b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + CANARY.encode() + b"\n-----END OPENSSH PRIVATE KEY-----\n",
            key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, secret),
            key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            rsa(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
            bytes(70_000),
        )
        for text in texts:
            self.path.write_bytes(text)
            self.path.chmod(0o600)
            self.assertNotIn(CANARY, self.refusal())
            self.assertNotIn("BEGIN", self.refusal())
