"""Tokens: JWTs that name a client_id for some minutes, signed with HS256 and nothing else.

A token is no proof that the credential still stands: that is asked at each request (see clients.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import jwt

from conch_pipe.errors import Code, PipeError

ALGORITHM = "HS256"
ISSUER, AUDIENCE = "pipe-sftp", "upload-api"
LEEWAY_S = 30.0
LONGEST = 4096  # characters; ours have about 300
_CLAIMS = ["iss", "aud", "sub", "exp", "iat", "jti"]


class Tokens:
    """Makes them and reads them.

    :param keys: the first signs, each is good for checking.
    :param seconds: since 1970, the clock's.
    :param life_s: of a token.
    """

    def __init__(self, keys: Sequence[bytes], seconds: Callable[[], float], life_s: float) -> None:
        self._keys = tuple(keys)
        self._seconds = seconds
        self.life_s = int(life_s)

    def issue(self, client_id: str) -> str:
        """A token for a client that has just shown its secret."""
        now = int(self._seconds())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": client_id,
            "iat": now,
            "exp": now + self.life_s,
            "jti": secrets.token_urlsafe(16),
        }
        return jwt.encode(claims, self._keys[0], algorithm=ALGORITHM)

    def client_id(self, token: str) -> str:
        """Whose it is. :raises PipeError: UNAUTHORIZED, the same words whatever is wrong."""
        if len(token) <= LONGEST:
            for key in self._keys:
                if found := self._read(token, key):
                    return found
        raise PipeError(Code.UNAUTHORIZED, "the access token is missing, wrong or has expired: get another one")

    def _read(self, token: str, key: bytes) -> str:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are compared below, with our own clock.
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return ""
        subject, begins, ends = claims["sub"], claims["iat"], claims["exp"]
        if not (isinstance(subject, str) and isinstance(begins, int) and isinstance(ends, int)):
            return ""
        now = self._seconds()
        in_time = begins - LEEWAY_S <= now < ends + LEEWAY_S
        return subject if in_time and ends - begins <= self.life_s else ""
