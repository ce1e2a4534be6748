"""The frame of the dashboard: who comes in, what every page carries, and what is said when something is wrong."""

from __future__ import annotations


def test_who_has_not_signed_in_is_sent_there_and_back_again(door):
    answer = door.page("/overview?range=7d", actor=None)

    assert answer.status == 303
    assert answer.headers["location"] == "/sign-in?next=%2Foverview%3Frange%3D7d"
