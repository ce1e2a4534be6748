"""Extents against the plainest model there is: a set of byte numbers."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_pipe.intake.extents import Extents, TooScattered

DOSE = int(os.environ.get("PIPE_DOSE", "1"))
chunks = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)).map(lambda t: (t[0], t[0] + t[1])), max_size=30)


@settings(max_examples=100 * DOSE, deadline=None)
@given(chunks)
def test_pieces_are_exactly_the_bytes_written(written):
    extents, model = Extents(), set()

    for start, end in written:
        extents.add(start, end)
        model |= set(range(start, end))

    pieces = extents.pieces()
    assert [one for start, end in pieces for one in range(start, end)] == sorted(model)
    assert all(end < start for (_, end), (start, _) in zip(pieces, pieces[1:], strict=False))
    assert extents.size == max(model, default=-1) + 1
    assert extents.prefix == next(one for one in range(99) if one not in model)


def test_pieces_are_bounded_and_a_refused_one_changes_nothing():
    extents = Extents(max_pieces=3)
    for start in (0, 10, 20):
        extents.add(start, start + 1)

    with pytest.raises(TooScattered):
        extents.add(30, 31)

    assert extents.pieces() == [(0, 1), (10, 11), (20, 21)]
    extents.add(1, 20)
    assert extents.pieces() == [(0, 21)]
