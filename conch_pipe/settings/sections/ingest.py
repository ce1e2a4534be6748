"""What files may be put, how they are received, and how they are read."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from conch_pipe.settings.sections.base import Section
from conch_pipe.settings.values import GIB, KIB, MIB, Count, Place, Seconds, Size, Words


class Uploads(Section):
    """What partners may put, and what they are told."""

    max_bytes: Size = Field(
        default=104_857_600, ge=1, le=1 << 40, description="Largest file in bytes: 100 MB read generously."
    )
    same_bytes_within_s: Seconds = Field(
        default=86_400,
        ge=0,
        description="The same client putting the same name and bytes again within so many seconds gets OK and no "
        "second upload, unless the first one FAILED; 0: never.",
    )
    wait_for_verdict_s: Seconds = Field(
        default=0,
        ge=0,
        le=600,
        description="Seconds that CLOSE waits for the verdict, so that a partner whose file is bad sees an error; "
        "0: OK as soon as the file is durable.",
    )
    temporary_names: bool = Field(
        default=True,
        description="Take a temporary name that is then renamed (WinSCP, rclone, lftp) as an unfinished upload.",
    )
    temporary_suffixes: Words = Field(
        default=(".filepart", ".part", ".partial", ".tmp"), description="Endings that make a name a temporary one."
    )
    temporary_prefixes: Words = Field(
        default=(".in.",), description="Beginnings that make a name a temporary one (lftp)."
    )
    quick_checks: bool = Field(
        default=True, description="Check encoding, header or JSON shape and the last record at CLOSE, before saying OK."
    )
    stat_elsewhere_s: Seconds = Field(
        default=600,
        ge=0,
        description="Seconds for which STAT on another connection of the client knows an upload (FileZilla).",
    )
    leftover_s: Seconds = Field(
        default=600, ge=0, description="Seconds a complete file waits under its temporary name to be renamed."
    )


class Spool(Section):
    """Bytes on their way in."""

    folder: Place = Field(default=Path("spool"), description="Folder of files being received; on a local disk.")
    lag_bytes: Size = Field(
        default=32 * MIB,
        ge=MIB,
        description="Bytes written but not yet hashed or synced at which a client is held back.",
    )
    sync_bytes: Size = Field(
        default=16 * MIB, ge=MIB, description="Bytes between two running fsyncs, so that CLOSE is short."
    )
    small_bytes: Size = Field(
        default=64 * KIB,
        ge=0,
        le=MIB,
        description="Up to this size a file is recorded with its bytes, in one transaction; 0: none.",
    )
    memory_bytes: Size = Field(
        default=16 * MIB, ge=0, description="Bytes of small files being received, all together; the others are on disk."
    )


class Files(Section):
    """What one file may hold, whatever its schema says."""

    columns: Count = Field(default=2000, ge=1, le=16_384, description="Columns, or keys of one JSON object.")
    field_bytes: Size = Field(default=MIB, ge=1, description="Bytes of one value.")
    line_bytes: Size = Field(default=4 * MIB, ge=1, description="Bytes of one line of CSV.")
    rows: Count = Field(default=5_000_000, ge=1, description="Rows.")
    problems: Count = Field(default=100, ge=1, le=10_000, description="Problems kept of one file; all are counted.")
    depth: Count = Field(default=64, ge=2, le=1000, description="Levels of nesting in JSON.")
    digits: Count = Field(default=40, ge=1, le=1000, description="Digits of one number in JSON.")


class Schemas(Section):
    """What files must look like."""

    folder: Place = Field(default=Path("schemas"), description="Folder of *.toml, one file for each schema.")
    reload_s: Seconds = Field(
        default=5, ge=0, description="Seconds between looks at the folder for changes; 0: only at start."
    )


class Workers(Section):
    """Child processes in which files are parsed and loaded."""

    count: Count = Field(default=0, ge=0, le=256, description="Worker processes; 0: one for each core.")
    memory_bytes: Size = Field(
        default=GIB,
        ge=640 * MIB,
        description="Address space of one worker; a JSON file of 100 MB needs 640 MiB, larger ones more.",
    )
    cpu_s: Seconds = Field(default=120, ge=1, description="CPU seconds for one file.")
    wall_s: Seconds = Field(default=300, ge=1, description="Seconds for one file, after which the worker is killed.")
