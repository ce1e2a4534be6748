"""What goes over the pipes."""

from __future__ import annotations

import os

import pytest

from conch_pipe.processes import counts
from conch_pipe.processes.share import Lines, line, packed, unpacked


def test_the_first_document_is_read_and_no_byte_more():
    reading, writing = os.pipe()
    os.write(writing, packed({"a": "b" * 5000}) + b"rest")

    assert unpacked(reading) == {"a": "b" * 5000}
    assert os.read(reading, 10) == b"rest"
    os.close(writing)
    with pytest.raises(EOFError):
        unpacked(reading)
    os.close(reading)


def test_messages_come_in_any_pieces():
    lines, data = Lines(), line(a=1) + line(b=[2])

    got = [message for at in range(len(data)) for message in lines.feed(data[at : at + 1])]

    assert got == [{"a": 1}, {"b": [2]}]


@pytest.mark.parametrize("data", [b"{\n", b"1\n", b"\xff\n"])
def test_what_is_no_message_is_told(data):
    with pytest.raises(ValueError):  # noqa: PT011
        Lines().feed(data)


def test_what_one_process_counts_the_others_see_until_it_is_forgotten():
    descriptor, parents = counts.make(2)
    first, second = (counts.take(descriptor, index) for index in (0, 3))

    first.add("192.0.2.1", 1, 1)
    assert (second.of("192.0.2.1").connections, second.total().connections) == (1, 1)
    parents.forget(0)

    assert second.total().connections == 0
    os.close(descriptor)
