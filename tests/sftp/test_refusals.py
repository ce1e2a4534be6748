"""One function turns what went wrong into what the client reads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.conch.ssh.filetransfer import SFTPError
from twisted.internet.defer import Deferred

from conch_pipe.errors import Code, PipeError
from conch_pipe.sftp.refusals import answered, refusal
from conch_pipe.ssh.interfaces import DropConnection
from tests.sftp.test_tree import DOSE

STATUS = {Code.NOT_ALLOWED: 3, Code.UNAUTHORIZED: 3, Code.NOT_FOUND: 2}


@pytest.mark.parametrize("code", set(Code) - {Code.UNKNOWN_OUTCOME})
def test_every_code_has_a_status_of_version_3(code):
    answer = refusal(PipeError(code, "why not", "a detail for the log"))

    assert isinstance(answer, SFTPError)
    assert (answer.code, answer.message) == (STATUS.get(code, 4), "why not")


def test_an_unknown_outcome_is_no_answer():
    assert isinstance(refusal(PipeError(Code.UNKNOWN_OUTCOME, "unknown")), DropConnection)


@settings(max_examples=100 * DOSE, deadline=None)
@given(words=st.text(max_size=600))
def test_the_text_is_short_printable_ascii_whatever_was_said(words):
    """Conch's client never fires for a status whose text is not ASCII."""
    text = refusal(PipeError(Code.FAILED, words)).message

    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 255


class Edge:
    @answered
    def at_once(self, error):
        raise error

    @answered
    async def later(self, waiting):
        await waiting

    @answered
    def deferred(self, waiting):
        return waiting


def test_refusals_leave_translated_whether_raised_awaited_or_failed_with():
    error = PipeError(Code.NOT_FOUND, "gone")
    first, second = Deferred(), Deferred()
    answers = []

    with pytest.raises(SFTPError):
        Edge().at_once(error)
    Edge().later(first).addBoth(answers.append)
    Edge().deferred(second).addBoth(answers.append)
    first.errback(error)
    second.errback(error)

    assert [(one.type, one.value.code) for one in answers] == [(SFTPError, 2)] * 2


def test_what_was_not_expected_rises_as_it_is():
    failed = Deferred()
    answers = []

    with pytest.raises(ZeroDivisionError):
        Edge().at_once(ZeroDivisionError())
    Edge().later(failed).addBoth(answers.append)
    failed.errback(ZeroDivisionError())

    assert answers[0].type is ZeroDivisionError
