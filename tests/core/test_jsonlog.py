"""Log lines: one event, one line, whatever a client sends."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from conch_pipe.jsonlog import LINE_BYTES, observer


def line(style: str, **fields) -> str:
    stream = io.StringIO()
    observer(stream, style=style)(
        {"log_time": 0.0, "log_level": LogLevel.info, "log_format": "put {name}", "log_namespace": "t"} | fields
    )
    return stream.getvalue()


@given(st.text(max_size=3000))
def test_a_clients_text_never_makes_a_second_line(name):
    for style in ("text", "json"):
        assert len(line(style, name=name).splitlines()) == 1


def test_json_carries_every_named_field():
    document = json.loads(line("json", name="a.csv", bytes=3, event="upload.stored"))

    assert document["event"] == "upload.stored"
    assert document["bytes"] == 3
    assert document["text"] == "put a.csv"
    assert document["time"] == "1970-01-01T00:00:00.000Z"


def test_nested_values_stay_json():
    assert json.loads(line("json", name="n", timings={"store": 0.5}))["timings"] == {"store": 0.5}


def test_a_huge_event_is_cut_and_still_json():
    document = json.loads(line("json", name="x" * 100_000))

    assert document["truncated"]
    assert len(line("json", name="é" * 100_000).encode()) <= LINE_BYTES


def test_a_traceback_is_kept_whole_in_text():
    try:
        raise ZeroDivisionError("one")
    except ZeroDivisionError:
        text = line("text", name="n", log_failure=Failure())

    assert "ZeroDivisionError: one" in text


def test_what_twisted_tells_of_its_ports_is_for_debugging():
    """ "Site starting on 8080" says nothing to people; warnings come the same way, and are told."""
    legacy = {"log_namespace": "log_legacy", "log_format": "{log_text}", "log_text": "Site starting on 8080"}

    assert line("text", **legacy) == ""
    assert "8080" in line("text", **legacy, warning="old", category="DeprecationWarning")
    assert "8080" in line("text", **legacy | {"log_level": LogLevel.warn})


def test_lines_below_the_level_are_left_out():
    assert line("text", name="n", log_level=LogLevel.debug) == ""


def test_a_full_disk_loses_lines_and_nothing_else():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    log = observer(Full(), style="text")

    log({"log_time": 0.0, "log_level": LogLevel.info, "log_format": "x"})

    assert log.lost == 1
