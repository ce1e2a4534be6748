"""A flood does not fill the log."""

from __future__ import annotations

from conch_pipe.ssh.server.quiet import Quiet, more


def test_so_many_lines_a_minute_and_then_how_many_were_left_out():
    now = [100.0]
    quiet = Quiet(lambda: now[0], 2)

    answers = [quiet.ask("a") for _ in range(5)]
    now[0] += 60
    later = [quiet.ask("a") for _ in range(3)]

    assert answers == [0, 0, None, None, None]
    assert later == [3, 0, None]
    assert quiet.ask("b") == 0


def test_keys_are_forgotten_when_there_are_too_many():
    quiet = Quiet(lambda: 0.0, 1)

    for number in range(10_000):
        quiet.ask(str(number))

    assert quiet.ask("0") == 0
    assert quiet.ask("9999") is None
    assert len(quiet._told) <= 4097


def test_the_words():
    assert (more(0), more(7)) == ("", " (7 more)")
