"""Host keys as people paste them: a line of a .pub or known_hosts file, what ssh-keyscan prints, RFC 4716, base64.

Decides nothing about trust.
"""

from __future__ import annotations

from conch_pipe.ssh.fields import Malformed
from conch_pipe.ssh.keys import armor, public
from conch_pipe.ssh.keys.errors import KeyRefused, Reason

_TYPES = (b"ssh-", b"ecdsa-sha2-", b"sk-", b"rsa-sha2-", b"webauthn-")
_FINGERPRINTS = (b"SHA256:", b"SHA1:", b"MD5:", b"SHA512:")
_MOST_LINES = 64


def public_blob(text: str | bytes) -> bytes:
    """The blob of the one key in a text; the same key on several lines is one key.

    :raises KeyRefused: there is no key, a private one, another form, or several; none of it is in the error.
    """
    result = _tried(text)
    if isinstance(result, bytes):
        return result
    del text  # which may be a private key in the wrong place: detailed tracebacks print local names
    raise KeyRefused(*result)


def _tried(text: str | bytes) -> bytes | tuple[Reason, str]:
    try:
        return _blob(armor.plain(text.encode() if isinstance(text, str) else text))
    except KeyRefused as error:
        return error.reason, error.words
    except (Malformed, UnicodeError):
        return "damaged", "the host key is damaged or cut: paste the whole line"


def _blob(data: bytes) -> bytes:
    rows = armor.lines(data)
    if rows[0].startswith(b"PuTTY-User-Key-File-") or any(
        begun is not None and b"PRIVATE" in begun[0] for begun in map(armor.label, rows)
    ):
        raise KeyRefused("private", "this is a private key; only the server's public host key is needed")
    if any(armor.label(row) for row in rows):
        found = [block for block in armor.blocks(data) if block.label == b"SSH2 PUBLIC KEY"]
        if not found:
            raise KeyRefused("unsupported", 'give the host key as one line such as "ssh-ed25519 AAAA…"')
        blobs = [armor.base64(block.body) for block in found]
    else:
        blobs = _of_lines([row for row in map(bytes.strip, rows) if row and not row.startswith(b"#")])
    for blob in blobs:
        public.check(blob)
    if len(set(blobs)) > 1:
        raise KeyRefused("several", "these are several host keys; give one at a time")
    return blobs[0]


def _of_lines(rows: list[bytes]) -> list[bytes]:
    if not rows:
        raise KeyRefused("empty", "there is no key: the text has nothing but comments")
    if len(rows) > _MOST_LINES:
        raise KeyRefused("several", "these are many lines; give one host key")
    if any(word.startswith(_FINGERPRINTS) or word.count(b":") == 15 for word in rows[0].split()[:2]):
        raise KeyRefused("fingerprint", 'this is a fingerprint; the key itself is needed, a line "ssh-ed25519 AAAA…"')
    named = [found for found in map(_of_line, rows) if found is not None]
    if named:
        if len(named) < len(rows):
            raise KeyRefused("not_a_key", "not every line is a host key")
        return named
    text = b"".join(b"".join(row.split()) for row in rows)
    try:
        blob = armor.base64(text)
    except Malformed:
        blob = b""
    if not blob.startswith(b"\0\0\0"):
        raise KeyRefused("not_a_key", 'this is no host key; one looks like "ssh-ed25519 AAAA…"')
    return [blob]


def _of_line(row: bytes) -> bytes | None:
    """``TYPE BASE64 …`` with or without host names before it."""
    words = row.split(None, 4)
    if words[0] == b"@revoked":
        raise KeyRefused("unsupported", "this line says that the key is revoked")
    if words[0].startswith(b"@"):
        raise KeyRefused("unsupported", "certificate authorities are not supported; give the host key itself")
    typed = [pair for pair in zip(words[:2], words[1:3], strict=False) if pair[0].startswith(_TYPES)]
    if not typed:
        if words[-1].startswith(_TYPES):
            raise Malformed("a type without a key")
        return None
    word, key = typed[-1]  # a host's name may begin with "ssh-"
    blob = armor.base64(key)
    name = public.algorithm(blob).encode()
    if word != name and not (name == b"ssh-rsa" and word in (b"rsa-sha2-256", b"rsa-sha2-512")):
        raise Malformed("the key is of another type than the line says")
    return blob
