"""Whatever happens to the connection and whatever is refused: what a report says has arrived, has arrived.

``PIPE_DOSE``: so many times the examples.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh.filetransfer import SFTPError

from conch_pipe.model import Role, Status
from conch_pipe.ssh.limits import Limits
from tests.remotes.lines import Trouble
from tests.remotes.pushing import World

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
_folder = tempfile.TemporaryDirectory()  # the files are only read

TROUBLES = st.one_of(
    st.just(Trouble()),
    st.builds(
        Trouble,
        delay_s=st.sampled_from([0.0, 0.3]),
        rate=st.sampled_from([0, 100_000]),
        after=st.none() | st.integers(0, 6_000) | st.integers(0, 400_000),
        then=st.sampled_from(["reset", "close", "stall"]),
    ),
)
OPERATIONS = ["realpath", "stat", "open", "close", "rename", "posix_rename", "remove", "statvfs"]
FILES = [b"n.mp4", b"n_raw.mp4", b"n.jpg", b"n_strip.jpg"]
PLACES = st.sampled_from(OPERATIONS) | st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(FILES))
REFUSALS = st.dictionaries(PLACES, st.sampled_from([SFTPError(code, "no") for code in (2, 3, 4, 8)]), max_size=3)


@settings(max_examples=60 * DOSE, deadline=None)
@given(
    up=TROUBLES,
    down=TROUBLES,
    refuse=REFUSALS,
    silent=st.frozensets(PLACES, max_size=1),
    good_writes=st.integers(0, 40),
    write_error=st.sampled_from([None, None, SFTPError(4, "Failure")]),
    wanted=st.frozensets(st.sampled_from(list(Role)), min_size=1),
    temporary_names=st.booleans(),
    rekey_bytes=st.sampled_from([50_000, 2**30]),
)
def test_a_report_tells_the_truth(
    up, down, refuse, silent, good_writes, write_error, wanted, temporary_names, rekey_bytes
):
    lies: dict[str, Any] = {"refuse": refuse, "silent": set(silent), "good_writes": good_writes}
    world = World(Path(_folder.name), write_error=write_error, **lies)
    world.liar.factory.limits = Limits(rekey_bytes=rekey_bytes, window=2**17)
    world.net.up, world.net.down = up, down

    report = world.push(
        wanted, within_s=1_000, then_s=60, temporary_names=temporary_names, chunk_size=10_000, marker="{NAME}.done"
    )

    said = {one.role: one.reason for one in report.files}
    arrived = {role for role, reason in said.items() if not reason}
    assert set(said) == wanted
    assert arrived <= world.arrived()
    assert [one.role for one in report.files] == [role for role in Role if role in wanted]
    if Role.MAIN in wanted:
        assert (report.status is Status.OK) == (Role.MAIN in arrived)
    if report.status is not Status.OK:
        assert report.reason
    assert (b"/home/in/n.done" in world.liar.files) >= (arrived == wanted), "a whole group has its marker"
    assert all(
        one.bytes <= file.bytes for one in report.files for file in world.recording.files if file.role is one.role
    )
