"""Keys made of numbers, and new ones."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.client.auth import Credentials
from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.keys import KINDS, KeyRefused, generate, private, read
from tests.ssh.keys import forge


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_key_is_kept_and_its_public_half_shown(kind):
    key = generate(kind)

    line = key.public_line("ann@example")

    assert read(key.openssh()).blob == key.blob
    path = forge.place(f"new-{kind}.pub")
    path.write_text(line + "\n")
    bits, fingerprint, comment, named = forge.run("ssh-keygen", "-l", "-f", path).decode().split()
    assert (key.bits, key.fingerprint, comment) == (int(bits), fingerprint, "ann@example")
    assert {"ed25519": ("256", "(ED25519)"), "rsa-4096": ("4096", "(RSA)")}[kind] == (bits, named)


def test_two_new_keys_differ():
    assert generate("ed25519").blob != generate("ed25519").blob


@pytest.mark.parametrize("kind", ["rsa", "rsa-1024", "dsa", ""])
def test_other_kinds_are_not_made(kind):
    with pytest.raises(ValueError, match="no such kind"):
        generate(kind)


def test_a_comment_stays_on_its_line():
    key = generate("ed25519")

    assert key.public_line("a\nssh-rsa AAAA\x1b é") == f"{key.public_line()} a?ssh-rsa AAAA? ?"
    assert len(key.public_line("x" * 1_000)) < 400
    assert key.public_line(" ") == key.public_line()


def test_a_key_does_not_change_and_is_not_copied_into_texts():
    key = generate("ed25519")

    with pytest.raises(AttributeError):
        key.bits = 1
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert copy.copy(key).blob == key.blob


def test_the_login_takes_a_key_of_ours_or_of_conchs():
    ours = generate("ed25519")
    theirs = Key.fromString(ours.openssh())

    assert Credentials(b"ann", key=ours).key == Credentials(b"ann", key=theirs).key == theirs


# Numbers that do not fit together.


@pytest.fixture(scope="module")
def good() -> dict[str, int]:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    return {"n": numbers.public_numbers.n, "e": 65537, "d": numbers.d, "p": numbers.p, "q": numbers.q}


def test_the_other_order_of_the_primes_is_the_same_key(good):
    assert private.rsa(**good).blob == private.rsa(**{**good, "p": good["q"], "q": good["p"]}).blob


@pytest.mark.parametrize("name", ["n", "e", "d", "p", "q"])
@pytest.mark.parametrize("change", [lambda x: x + 2, lambda x: -x, lambda x: 0, lambda x: 1, lambda x: x << 1])
def test_an_rsa_key_with_one_other_number_is_no_key(good, name, change):
    with pytest.raises(Malformed):
        private.rsa(**{**good, name: change(good[name])})


def test_an_rsa_modulus_in_trivial_factors_is_no_key(good):
    with pytest.raises(Malformed):
        private.rsa(**{**good, "p": 1, "q": good["n"]})
    with pytest.raises(Malformed):
        private.rsa(**{**good, "p": good["p"], "q": good["p"], "n": good["p"] ** 2})


def test_factors_that_are_no_primes_do_not_sign(good):
    """Whether they are primes is not asked; all else is right here."""
    p, q = good["p"] + 2, good["q"] + 2
    while math.gcd(65537, (p - 1) * (q - 1)) != 1:
        p += 2
    d = pow(65537, -1, math.lcm(p - 1, q - 1))

    with pytest.raises(Malformed, match="sign"):
        private.rsa(p * q, 65537, d, p, q)


def test_an_rsa_key_that_is_too_large_is_refused_by_its_size():
    p, q = 2**8200 + 1, 2**8200 + 3

    with pytest.raises(KeyRefused) as caught:
        private.rsa(p * q, 65537, 1, p, q)

    assert caught.value.reason == "too_large"
    assert "16401 bits" in str(caught.value)


@pytest.mark.parametrize("secret", [0, -1, 2**256, 2**256 - 1, 2**5000])
def test_a_secret_that_is_none_of_the_curves_is_no_key(secret):
    with pytest.raises(Malformed):
        private.ecdsa(b"nistp256", secret, None)


@pytest.mark.parametrize("seed", [b"", b"x" * 31, b"x" * 33])
def test_an_ed25519_key_has_32_bytes(seed):
    with pytest.raises(Malformed):
        private.ed25519(seed, None)


def test_the_public_half_must_be_the_private_ones():
    with pytest.raises(Malformed, match="another key"):
        private.ed25519(bytes(32), bytes(32))
    with pytest.raises(Malformed, match="another key"):
        private.ecdsa(b"nistp256", 1, b"\4" + bytes(64))
