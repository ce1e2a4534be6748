"""What was filled in: the fields of a form, as text without space around it."""

from __future__ import annotations

from urllib.parse import parse_qs

from conch_pipe.web.forms import content_type
from conch_pipe.web.problems import Refused
from conch_pipe.web.request import Request

FIELDS = 60
_FORM = "application/x-www-form-urlencoded"


class Filled:
    """One form that came.

    :param fields: name → values, in their order.
    """

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def get(self, name: str, default: str = "") -> str:
        """The value of a field, the last when there are several; ``default`` when it is empty or not there."""
        return self.exact(name).strip() or default

    def exact(self, name: str) -> str:
        """A value as it came, with its spaces: a password. Line ends are as in a file of ours."""
        return (self._fields.get(name) or [""])[-1].replace("\r\n", "\n")

    def all(self, name: str) -> list[str]:
        """The values of a field that may be there several times, without empty ones."""
        return [value.strip() for value in self._fields.get(name, []) if value.strip()]

    def has(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self.get(name))

    def __repr__(self) -> str:
        return f"<Filled {sorted(self._fields)}>"  # a value may be a secret


async def filled(request: Request, limit: int) -> Filled:
    """The form in a request's body.

    :raises Refused: it is none. :raises PipeError: TOO_LARGE, more than ``limit`` bytes.
    """
    media_type, _ = content_type(request)
    if media_type not in (_FORM, ""):
        raise Refused("unsupported_media_type", f"send {_FORM}")
    body = await request.body.whole(limit)
    try:
        return Filled(parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS, errors="strict"))
    except ValueError:
        raise Refused("bad_request", f"the form must be at most {FIELDS} fields of UTF-8") from None
