"""What is no private key, or one that is not used here, is named; files that want to cost us something are refused."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from conch_pipe.ssh.fields import string, u32
from conch_pipe.ssh.keys import KeyRefused, read
from tests.ssh.keys import forge
from tests.ssh.keys.forge import PASSPHRASE, run


def refused(data: bytes, passphrase: bytes | None = None) -> str:
    """The reason."""
    return refusal(data, passphrase).reason


def refusal(data: bytes, passphrase: bytes | None = None) -> KeyRefused:
    with pytest.raises(KeyRefused) as caught:
        read(data, passphrase)
    assert str(caught.value)
    return caught.value


def body(text: bytes) -> bytes:
    """What the base64 of a PEM file says."""
    return b64decode(b"".join(row for row in text.splitlines() if b"-----" not in row and b":" not in row))


def pem(label: str, content: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label.encode(), b64encode(content), label.encode())


def openssh(*parts: bytes) -> bytes:
    return pem("OPENSSH PRIVATE KEY", b"openssh-key-v1\0" + b"".join(parts))


# Something else.


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf\n"])
def test_nothing_is_named_so(data):
    assert refused(data) == "empty"


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\0" * 1000,
        bytes(range(256)),
        b"<!DOCTYPE html>\n<html><body>Sign in</body></html>",
        b"<html>",
        b"0123456789",
        b"-----BEGIN NONSENSE-----\nAAAA\n-----END NONSENSE-----",
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----",
        b'{"key": "value"}',
        b"id_ed25519",
        b"~/.ssh/id_rsa",
    ],
)
def test_what_is_no_key_is_named_so(data):
    assert refused(data) == "not_a_key"


def test_a_web_page_is_named_so():
    assert "web page" in str(refusal(b"\n<!doctype HTML>\n<p>404</p>"))


def public_forms() -> dict[str, bytes]:
    pub = forge.openssh("rsa").with_suffix(".openssh.pub")
    line = pub.read_bytes()
    certificate = forge.place("public.crt")
    request = ("req", "-new", "-key", forge.by_openssl("rsa"), "-subj", "/CN=x")
    run("openssl", *request, "-x509", "-out", certificate)
    ppk = forge.file("ppk3", "rsa")
    return {
        "a line": line,
        "a line of authorized_keys": b'from="192.0.2.1",no-pty ' + line,
        "a line of known_hosts": b"host.example,192.0.2.1 " + line,
        "comments before it": b"# host.example:22 SSH-2.0-OpenSSH_9.2\nhost.example " + line,
        "RFC 4716": run("ssh-keygen", "-e", "-f", pub),
        "RFC 4716 by puttygen": run("puttygen", forge.openssh("rsa"), "-O", "public", "-o", "/dev/stdout"),
        "PEM": run("ssh-keygen", "-e", "-m", "PEM", "-f", pub),
        "PKCS8": run("ssh-keygen", "-e", "-m", "PKCS8", "-f", pub),
        "DER": run("openssl", "pkey", "-in", forge.by_openssl("rsa"), "-pubout", "-outform", "DER"),
        "DER of PKCS#1": run("openssl", "rsa", "-in", forge.by_openssl("rsa"), "-RSAPublicKey_out", "-outform", "DER"),
        "a certificate": certificate.read_bytes(),
        "a certificate in DER": run("openssl", "x509", "-in", certificate, "-outform", "DER"),
        "a request": run("openssl", *request),
        "an SSH certificate": b"ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29t x",
        "a security key's": b"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t x",
        "DSA": b"ssh-dss AAAAB3NzaC1kc3MAAACBA x",
        "ppk without its private half": ppk[: ppk.index(b"Private-Lines")] + b"Private-Lines: 0\n",
        "ppk cut before its private half": ppk[: ppk.index(b"Private-Lines")],
    }


def test_a_public_key_in_the_place_of_a_private_one_is_named_so():
    reasons = {name: refused(data) for name, data in public_forms().items()}

    assert set(reasons.values()) == {"public"}, reasons


@pytest.mark.parametrize("label", ["PGP PRIVATE KEY BLOCK", "DSA PRIVATE KEY"])
def test_pem_of_other_kinds_is_named_as_unsupported(label):
    assert refused(pem(label, b"x" * 40)) == "unsupported"


# Keys that are not used here.


def test_dsa_keys_are_named_as_unsupported():
    parameters, key = forge.place("dsa.parameters"), forge.place("dsa.key")
    run(
        "openssl", "genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024", "-out", parameters
    )
    run("openssl", "genpkey", "-paramfile", parameters, "-out", key)
    for options in ((), ("-outform", "DER")):
        refusing = refusal(run("openssl", "pkey", "-in", key, *options))
        assert (refusing.reason, "DSA" in str(refusing)) == ("unsupported", True)

    old = run("openssl", "dsa", "-in", key)
    assert refused(run("openssl", "pkcs8", "-topk8", "-in", key, "-passout", "pass:x"), b"x") == "unsupported"
    path = forge.place("dsa.old")
    path.write_bytes(old)
    path.chmod(0o600)
    for output in ("private", "private-sshcom"):
        assert refused(run("puttygen", path, "-O", output, "-o", "/dev/stdout")) == "unsupported"


@pytest.mark.parametrize(
    ("name", "named"),
    [
        (b"ssh-dss", "DSA"),
        (b"sk-ssh-ed25519@openssh.com", "security keys"),
        (b"sk-ecdsa-sha2-nistp256@openssh.com", "security keys"),
        (b"ssh-ed25519-cert-v01@openssh.com", "certificates"),
        (b"ssh-xmss@openssh.com", "this type"),
        (b"x" * 64, "this type"),
    ],
)
def test_other_types_are_named_before_their_passphrase_is_asked_for(name, named):
    options = string(string(b"s" * 16) + u32(16))
    head = string(b"aes256-ctr") + string(b"bcrypt") + options + u32(1)

    refusing = refusal(openssh(head, string(string(name)), string(b"x" * 64)))

    assert (refusing.reason, named in str(refusing)) == ("unsupported", True)
    for line in (b"PuTTY-User-Key-File-3: ", b"PuTTY-User-Key-File-2: "):
        assert refused(line + name + b"\nEncryption: none\n") == "unsupported"


@pytest.mark.parametrize(
    "algorithm", ["ed448", "x25519", "RSA-PSS", "EC:secp256k1", "EC:brainpoolP256r1", "EC:explicit"]
)
def test_other_keys_of_openssl_are_named_as_unsupported(algorithm):
    name, _, curve = algorithm.partition(":")
    options = ["-algorithm", name]
    if curve:
        options += ["-pkeyopt", f"ec_paramgen_curve:{curve.replace('explicit', 'P-256')}"]
    if curve == "explicit":
        options += ["-pkeyopt", "ec_param_enc:explicit"]

    data = run("openssl", "genpkey", *options)

    assert refused(data) == "unsupported"
    if curve:
        assert refused(run("openssl", "ec", stdin=data)) == "unsupported"


@pytest.mark.parametrize("bits", [512, 1024, 2047])
def test_a_weak_rsa_key_is_refused_by_its_size(bits):
    data = run("openssl", "genrsa", str(bits))

    refusing = refusal(data)

    assert refusing.reason == "too_weak"
    assert f"{bits} bits" in str(refusing)


def test_pkcs12_is_named_as_unsupported():
    certificate = forge.place("for-pkcs12.crt")
    run("openssl", "req", "-new", "-x509", "-key", forge.by_openssl("rsa"), "-subj", "/CN=x", "-out", certificate)
    made = ("-export", "-inkey", forge.by_openssl("rsa"), "-in", certificate, "-passout", "pass:x")

    assert "PKCS#12" in str(refusal(run("openssl", "pkcs12", *made)))


def test_putty_files_of_version_1_are_named():
    assert "version 1" in str(refusal(b"PuTTY-User-Key-File-1: ssh-rsa\nEncryption: none\n"))
    assert refused(b"PuTTY-User-Key-File-4: ssh-rsa\nEncryption: none\n") == "unsupported"


def test_an_old_way_to_encrypt_is_named_as_unsupported():
    way = ("-v1", "PBE-SHA1-RC2-40", "-provider", "legacy", "-provider", "default")
    data = run("openssl", "pkcs8", "-topk8", *way, "-in", forge.by_openssl("rsa"), "-passout", "pass:x")

    assert refused(data, b"x") == "unsupported"


# Files that want to cost us something. None of these gives a passphrase: what is refused is refused before any work.


def test_a_file_that_is_too_large_is_not_looked_at():
    assert refused(b"x" * 65_537) == "too_large"
    assert refused(forge.file("openssh", "ed25519") + b"\n" * 65_536) == "too_large"
    assert refused(b"\x30\x83\x01\x00\x00" + b"\x02\x01\0\x04" + b"x" * 65_532) == "too_large"


@pytest.mark.parametrize("rounds", [257, 4_000, 2**31, 2**32 - 1])
def test_rounds_of_bcrypt_are_bounded(rounds):
    content = body(forge.file("openssh-aes256-ctr", "ed25519"))
    at = content.index(u32(16)) + 4 + 16  # behind the salt
    assert content[at : at + 4] == u32(1)

    assert refused(pem("OPENSSH PRIVATE KEY", content[:at] + u32(rounds) + content[at + 4 :])) == "too_costly"


@pytest.mark.parametrize(
    ("name", "usual", "value"),
    [
        (b"Memory", b"64", b"65537"),
        (b"Memory", b"64", b"4294967295"),
        (b"Passes", b"2", b"65"),
        (b"Passes", b"2", b"4294967295"),
        (b"Parallelism", b"2", b"17"),
        (b"Parallelism", b"2", b"4294967295"),
    ],
)
def test_the_cost_of_argon2_is_bounded(name, usual, value):
    data = forge.file("ppk3-argon2id", "ed25519")
    usual = b"Argon2-%b: %b\n" % (name, usual)
    assert usual in data

    assert refused(data.replace(usual, b"Argon2-%b: %b\n" % (name, value))) == "too_costly"


@pytest.mark.parametrize(
    "value", [b"0", b"-1", b"+8", b"8 8", b"1e9", b"", b"99999999999999999999", b"\xb2", b"0x40", b"4_0"]
)
@pytest.mark.parametrize("name", [b"Memory", b"Passes", b"Parallelism"])
def test_numbers_of_argon2_that_are_none_are_damage(name, value):
    data = forge.file("ppk3-argon2id", "ed25519")
    rows = [b"Argon2-%b: %b" % (name, value) if b"Argon2-" + name in row else row for row in data.splitlines()]

    assert refused(b"\n".join(rows), PASSPHRASE) == "damaged"


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    long = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag,)) + (bytes((size,)) if size < 128 else bytes((0x80 + len(long),)) + long) + content


def number(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pbes2(derivation: bytes) -> bytes:
    cipher = der(0x30, der(6, bytes.fromhex("60864801650304012a")), der(4, bytes(16)))
    scheme = der(0x30, der(6, bytes.fromhex("2a864886f70d01050d")), der(0x30, derivation, cipher))
    return pem("ENCRYPTED PRIVATE KEY", der(0x30, scheme, der(4, bytes(64))))


def pbkdf2(iterations: int, *more: bytes) -> bytes:
    fields = der(0x30, der(4, b"saltsalt"), number(iterations), *more)
    return pbes2(der(0x30, der(6, bytes.fromhex("2a864886f70d01050c")), fields))


def scrypt(n: int, r: int, p: int) -> bytes:
    fields = der(0x30, der(4, b"saltsalt"), number(n), number(r), number(p))
    return pbes2(der(0x30, der(6, bytes.fromhex("2b06010401da47040b")), fields))


@pytest.mark.parametrize("iterations", [2_000_001, 2**31, 2**64, 2**2000])
def test_iterations_of_pbkdf2_are_bounded(iterations):
    assert refused(pbkdf2(iterations)) == "too_costly"
    assert refused(pbkdf2(2_000)) == "passphrase_missing"


@pytest.mark.parametrize(
    "cost", [(2**17, 8, 1), (2**14, 8, 17), (2**30, 1, 1), (2, 2**30, 1), (2, 1, 2**30), (2**40, 2**40, 2**40)]
)
def test_the_cost_of_scrypt_is_bounded(cost):
    assert refused(scrypt(*cost)) == "too_costly"
    assert refused(scrypt(2**14, 8, 1)) == "passphrase_missing"


@pytest.mark.parametrize("name", ["2a864886f70d010c0103", "2a864886f70d010503", "2a864886f70d01050a"])
@pytest.mark.parametrize(("iterations", "reason"), [(100_001, "too_costly"), (2**64, "too_costly"), (0, "damaged")])
def test_iterations_of_the_old_ways_are_bounded(name, iterations, reason):
    scheme = der(0x30, der(6, bytes.fromhex(name)), der(0x30, der(4, b"saltsalt"), number(iterations)))

    assert refused(pem("ENCRYPTED PRIVATE KEY", der(0x30, scheme, der(4, bytes(64))))) == reason


@pytest.mark.parametrize("data", [pbkdf2(0), pbkdf2(1, number(33)), scrypt(0, 8, 1), scrypt(3, 8, 1), scrypt(2, 0, 1)])
def test_parameters_that_cannot_be_are_damage(data):
    assert refused(data, PASSPHRASE) == "damaged"


def test_a_random_function_that_is_not_known_is_unsupported():
    assert refused(pbkdf2(1, der(0x30, der(6, b"\x2a\x03\x04")))) == "unsupported"


# Damage.


@pytest.mark.parametrize("form", ["openssh", "pem", "pkcs8", "ppk2", "ppk3", "sshcom"])
def test_a_cut_file_is_damaged_wherever_it_is_cut(form):
    data = forge.file(form, "rsa")

    reasons = {refused(data[:at]) for at in range(60, len(data) - 40, 40)}

    assert reasons <= {"damaged", "public"}  # a .ppk without its second half has only the public one


@pytest.mark.parametrize("form", ["openssh", "pkcs8", "der-pkcs8"])
def test_another_keys_public_half_is_noticed(form):
    """The private half alone decides what is signed; the public one is what the server was given."""
    mine, other = forge.public(form, "ed25519")[-32:], b"\1" * 32
    data = forge.file(form, "ed25519")
    if form == "openssh":
        data = pem("OPENSSH PRIVATE KEY", body(data).replace(mine, other, 1))
    else:
        seed = (body(data) if form == "pkcs8" else data)[-32:]
        info = der(0x30, number(1), der(0x30, der(6, b"\x2b\x65\x70")), der(4, der(4, seed)), der(0x81, b"\0" + other))
        data = pem("PRIVATE KEY", info) if form == "pkcs8" else info
        assert read(data.replace(other, mine) if form != "pkcs8" else pem("PRIVATE KEY", info.replace(other, mine)))

    assert refused(data) == "damaged"


def test_a_missing_first_line_is_named():
    rest = forge.file("openssh", "ed25519").split(b"\n", 1)[1]

    assert "BEGIN" in str(refusal(rest))
    assert "BEGIN" in str(refusal(rest.split(b"-----END")[0]))


def test_several_keys_in_one_file_are_refused():
    content = body(forge.file("openssh", "ed25519"))
    at = content.index(u32(1))

    assert refused(pem("OPENSSH PRIVATE KEY", content[:at] + u32(2) + content[at + 4 :])) == "unsupported"


@pytest.mark.parametrize(
    "options",
    [b"", string(b"") + u32(16), string(b"s" * 16), string(b"s" * 16) + u32(0), string(b"s" * 16) + u32(1) + b"x"],
)
def test_options_of_bcrypt_that_cannot_be_are_damage(options):
    head = string(b"aes256-ctr") + string(b"bcrypt") + string(options) + u32(1)

    assert refused(openssh(head, string(string(b"ssh-ed25519")), string(b"x" * 64)), PASSPHRASE) == "damaged"
