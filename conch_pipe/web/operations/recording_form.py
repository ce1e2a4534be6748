"""A recording that comes with its files, as multipart/form-data: written to the spool as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conch_pipe.errors import Code, PipeError
from conch_pipe.model import Role, Submitted
from conch_pipe.web.parts_of_forms import FormParts
from conch_pipe.web.problems import Refused
from conch_pipe.web.request import Request

FIELDS = ("organisation", "environment", "id", "name")
FIELD_BYTES = 4096
_ROLES = {role.value: role for role in Role}


class RecordingForm(FormParts):
    """Its parts.

    :param arrival: an intake.arrivals.Arrival, ended by the caller.
    :param may: called with the organisation, as soon as it is known; raises when it must not be told.
    """

    def __init__(self, request: Request, boundary: str, arrival: Any, may: Callable[[str], object]) -> None:
        super().__init__(request, boundary)
        self._arrival = arrival
        self._may = may
        self._said: dict[str, str] = {}
        self._field = ""
        self._value = bytearray()

    async def submit(self) -> Submitted:
        """Record it. :raises PipeError: as IRecordingIntake.submit. :raises Refused: a field is missing."""
        missing = [field for field in FIELDS[:3] if field not in self._said]
        if missing:
            raise Refused("bad_request", f"the form has no field {' and no field '.join(missing)}")
        organisation, environment, recording_id = (self._said[field] for field in FIELDS[:3])
        name = self._said.get("name") or recording_id
        submitted: Submitted = await self._arrival.submit(organisation, environment, recording_id, name)
        return submitted

    async def part(self, name: str, filename: str, media_type: str) -> None:
        """See FormParts."""
        self._field = name
        self._value.clear()
        if name in _ROLES:
            if "organisation" not in self._said:
                # Before it is known whose they are, nobody's files are kept.
                raise Refused("bad_request", "put the field organisation before the files")
            await self._arrival.file(_ROLES[name], filename)
        elif name not in FIELDS:
            raise Refused("bad_request", f"the form has {', '.join(FIELDS)} and files {', '.join(_ROLES)}, no others")
        elif name in self._said:
            raise Refused("bad_request", f"{name} is there twice")

    async def data(self, data: bytes) -> None:
        """See FormParts."""
        if self._field in _ROLES:
            await self._arrival.write(data)
            return
        self._value += data
        if len(self._value) > FIELD_BYTES:
            raise Refused("bad_request", f"{self._field} is too long")

    async def part_ends(self) -> None:
        """See FormParts."""
        if self._field in _ROLES:
            return
        try:
            self._said[self._field] = self._value.decode()
        except UnicodeDecodeError:
            raise PipeError(Code.INVALID, f"{self._field}: is not UTF-8") from None
        if self._field == "organisation":
            self._may(self._said["organisation"])
