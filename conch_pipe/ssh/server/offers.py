"""What each client is offered: the preset for its address, and which of our keys signs under it.

Pure. The client's address is all that is known of it when algorithms are negotiated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from twisted.conch.ssh.keys import Key

from conch_pipe.ssh.server.addresses import Networks
from conch_pipe.ssh.server.hostkeys import Signer, signers
from conch_pipe.ssh.transport.algorithms import SERVER, Algorithms, restricted, usable_with

OLD_OPENSSL = "needs ML-KEM, which this OpenSSL has not (3.5 has it)"


@dataclass(frozen=True, slots=True)
class Offer:
    """One preset with our keys.

    :param algorithms: host key algorithms are those that ``signers`` has.
    """

    algorithms: Algorithms
    signers: Mapping[bytes, Signer]


def offer(preset: Algorithms, keys: Sequence[Key]) -> Offer:
    """The first key that has an algorithm, and is good enough for the preset, signs with it.

    :param keys: private Ed25519 and RSA keys.
    :raises ValueError: nothing would be left to agree on; or a key of another type.
    """
    if not preset.exchanges:
        raise ValueError(OLD_OPENSSL)
    found: dict[bytes, Signer] = {}
    for key in keys:
        for signer in signers(key):
            if signer.algorithm in usable_with(signer.blob, preset):
                found.setdefault(signer.algorithm, signer)
    if not found:
        raise ValueError(f"needs an Ed25519 host key, or an RSA one of {preset.rsa_bits} bits: there is none")
    return Offer(restricted(preset, found), found)


def mistakes(keys: Sequence[Key], chosen: Iterable[tuple[str, str]]) -> list[str]:
    """One sentence for each preset that leaves nothing.

    :param keys: without any, nothing is said of keys that lack: why there is none has been told.
    :param chosen: names of settings and of presets.
    """
    found = []
    for setting, preset in dict.fromkeys(chosen):
        try:
            offer(SERVER[preset], keys)
        except ValueError as error:
            if not keys and SERVER[preset].exchanges:
                continue
            found.append(f"{setting}: {preset} {error}")
    return found


def signing(keys: Sequence[Key], presets: Iterable[str]) -> set[str]:
    """Fingerprints of the keys that sign under one of the presets, as far as these leave something."""
    usable = [preset for preset in presets if not mistakes(keys, [("", preset)])] if keys else []
    return {one.fingerprint for preset in usable for one in offer(SERVER[preset], keys).signers.values()}


class Offers:
    """The rule and its exceptions.

    :param exceptions: networks and presets; the first network an address is in decides.
    :raises ValueError: see :func:`offer`; something that is no network.
    """

    def __init__(
        self, keys: Sequence[Key], rule: Algorithms, exceptions: Sequence[tuple[str, Algorithms]] = ()
    ) -> None:
        self._rule = offer(rule, keys)
        self._exceptions = [(Networks([network]), offer(preset, keys)) for network, preset in exceptions]

    def to(self, address: str) -> Offer:
        """For a client."""
        for network, exception in self._exceptions:
            if address in network:
                return exception
        return self._rule


def named(exceptions: Mapping[str, str]) -> list[tuple[str, Algorithms]]:
    """The exceptions as settings have them: network → name of a preset."""
    return [(network, SERVER[preset]) for network, preset in exceptions.items()]
