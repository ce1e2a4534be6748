"""What every [section] of the file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One [section] of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
