"""Where records, copies and rows are kept, for how long, and the room that must stay free."""

from __future__ import annotations

from pydantic import Field, model_validator

from conch_pipe.settings.sections.base import Section
from conch_pipe.settings.values import GIB, Seconds, Share, Size, Url


class Catalog(Section):
    """The records: organisations, credentials, uploads, jobs."""

    url: Url = Field(
        default="sqlite:///catalog.sqlite",
        description="sqlite:///PATH on a local disk; four slashes before an absolute path.",
    )
    busy_s: Seconds = Field(default=5, gt=0, description="Seconds to wait for a lock that another process holds.")


class Objects(Section):
    """Raw copies of accepted files."""

    url: Url = Field(default="file:objects", description="file:FOLDER, on a local disk.")


class Warehouse(Section):
    """The analytics database."""

    url: Url = Field(default="duckdb:warehouse.duckdb", description="duckdb:PATH.")


class Kept(Section):
    """How long things are kept."""

    copies_days: Seconds = Field(
        default=90, ge=0, description="Days a raw copy is kept after its upload ended; 0: for ever."
    )
    records_days: Seconds = Field(
        default=400, ge=0, description="Days the record of an upload is kept after it ended; 0: for ever."
    )

    @model_validator(mode="after")
    def _copies_have_records(self) -> Kept:
        if self.records_days and (not self.copies_days or self.copies_days > self.records_days):
            raise ValueError("records_days must not be less than copies_days: a copy would lose its record")
        return self


class Disk(Section):
    """Room on the spool's disk."""

    free_bytes: Size = Field(default=GIB, ge=0, description="Uploads are refused while less than this is free,")
    free_share: Share = Field(default=0.05, ge=0, lt=1, description="or less than this share of the disk,")
    free_inodes_share: Share = Field(default=0.01, ge=0, lt=1, description="or less than this share of its inodes.")
    look_s: Seconds = Field(default=1, gt=0, description="Seconds between looks at the free space.")
