"""An upload against a model of what it promises, whatever is called in whatever order and wherever its steps wait."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conch_pipe.errors import Code, PipeError
from conch_pipe.intake import spool as spool_module
from conch_pipe.intake.admission import Limits
from tests.intake.fakes import World

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
LIMIT = 64


class Uploading(RuleBasedStateMachine):
    """One upload; pool, object store and catalog are gates that open, step or fail when the rules say so."""

    @initialize(
        provisional=st.booleans(),
        shut=st.sets(st.sampled_from(["threads", "put", "accept"])),
        small_bytes=st.sampled_from([0, 10, 40]),
        memory_bytes=st.sampled_from([15, 1000]),
        in_place=st.booleans(),
    )
    def start(self, provisional, shut, small_bytes, memory_bytes, in_place):
        self.folder = Path(tempfile.mkdtemp())
        limits = Limits(
            max_bytes=LIMIT,
            lag_bytes=24,
            sync_bytes=12,
            small_bytes=small_bytes,
            memory_bytes=memory_bytes,
            free_bytes=0,
            free_share=0,
            free_inodes_share=0,
        )
        self.before = spool_module.HASH_STEP, spool_module.HASH_IN_PLACE
        spool_module.HASH_STEP, spool_module.HASH_IN_PLACE = 8, in_place
        self.world = World(self.folder / "spool", limits=limits)
        self.gates = {
            "threads": self.world.threads,
            "put": self.world.objects.putting,
            "accept": self.world.uploads.accepting,
        }
        for name in shut:
            self.gates[name].shut = True
        self.provisional = provisional
        self.name = "a.csv.part" if provisional else "a.csv"
        self.upload = self.world.begin(self.name, provisional=provisional)
        self.bytes: dict[int, int] = {}
        self.finished = self.committed = None
        self.answers: list[object] = []
        self.refused_write = self.aborted_open = False

    def model(self) -> bytes | None:
        """The file's bytes, or None when one is missing."""
        size = max(self.bytes, default=-1) + 1
        return bytes(self.bytes[at] for at in range(size)) if len(self.bytes) == size else None

    def kept(self) -> dict[UUID, bytes]:
        """Every upload's bytes: raw copies, and those recorded with it."""
        copies = {UUID(key.rpartition("/")[2].partition(".")[0]): it for key, it in self.world.objects.stored.items()}
        assert not copies.keys() & self.world.uploads.contents.keys()
        return copies | self.world.uploads.contents

    def ask(self, deferred):
        deferred.addBoth(self.answers.append)
        return deferred

    @rule(at=st.integers(0, LIMIT + 4), data=st.binary(min_size=1, max_size=9))
    def write_anywhere(self, at, data):
        self.write(at, data)

    @rule(data=st.binary(min_size=1, max_size=16))
    def write_on(self, data):
        self.write(max(self.bytes, default=-1) + 1, data)

    def write(self, at, data):
        try:
            self.upload.write(at, memoryview(data))
        except PipeError as refused:
            if refused.code is Code.TOO_LARGE:
                self.refused_write = True
            assert self.refused_write or self.finished is not None or self.aborted_open
        else:
            assert self.finished is None and not self.aborted_open and at + len(data) <= LIMIT
            self.bytes.update(enumerate(data, at))

    @rule()
    def sync(self):
        self.upload.sync().addErrback(lambda failure: failure.trap(PipeError) and None)

    @rule()
    @precondition(lambda self: self.finished is None)
    def finish(self):
        self.finished = self.ask(self.upload.finish())

    @rule()
    def finish_again(self):
        if self.finished is not None:
            self.upload.finish().addErrback(lambda failure: failure.trap(PipeError) and None)

    @rule()
    @precondition(lambda self: self.finished is not None and self.committed is None and self.answers == [None])
    def commit(self):
        self.answers.clear()
        self.committed = self.ask(self.upload.commit("a.csv"))

    @rule()
    def abort(self):
        self.aborted_open = self.aborted_open or self.finished is None
        self.upload.abort("enough")

    @rule(name=st.sampled_from(["threads", "put", "accept"]))
    def open_or_step(self, name):
        gate = self.gates[name]
        if gate.waiting:
            gate.step()
        else:
            gate.shut = not gate.shut

    @rule(name=st.sampled_from(["put", "accept"]), code=st.sampled_from([Code.NO_SPACE, Code.FAILED, Code.BUSY]))
    def fail_next(self, name, code):
        self.gates[name].failures = [PipeError(code, "as told")]

    @invariant()
    def a_record_is_the_whole_file_and_has_its_copy(self):
        for recorded in self.world.uploads.records.values():
            whole = self.model()
            assert self.kept() == {recorded.id: whole}
            assert recorded.sha256 == hashlib.sha256(whole).hexdigest()
            assert not self.refused_write and not self.aborted_open

    @invariant()
    def an_upload_is_said_only_when_it_is_recorded(self):
        for answer in self.answers:
            if answer is not None and not hasattr(answer, "check"):
                assert answer.id in self.world.uploads.records

    @invariant()
    def it_ends_at_most_once(self):
        assert len(self.world.endings()) <= 1

    def teardown(self):
        if not hasattr(self, "world"):
            return
        for _ in range(6):
            for gate in self.gates.values():
                gate.open()
        self.upload.abort("the end")
        try:
            assert (self.world.parts(), self.world.intake.live) == ([], 0)
            assert len(self.world.endings()) == 1
            assert len(self.kept()) == len(self.world.uploads.records) == len(self.world.uploads.jobs)
            assert self.world.intake._memory.held == 0
            assert self.finished is None or self.finished.called
            self.a_record_is_the_whole_file_and_has_its_copy()
            refused = [answer for answer in self.answers if hasattr(answer, "check")]
            assert not (refused and self.world.uploads.records)
        finally:
            spool_module.HASH_STEP, spool_module.HASH_IN_PLACE = self.before
            shutil.rmtree(self.folder)


Uploading.TestCase.settings = settings(max_examples=80 * DOSE, stateful_step_count=25, deadline=None)
TestUploadAgainstItsModel = Uploading.TestCase
