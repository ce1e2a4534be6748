"""A door process as its parent hears it."""

from twisted.internet.task import Clock

from conch_pipe.processes.door import SOON_S, Door


def test_the_parent_is_told_of_an_upload_at_once_and_of_a_storm_now_and_then():
    clock, told = Clock(), []
    door = Door(
        clock,
        schemas={},
        database=None,
        disk=None,
        intake=None,
        sftp=None,
        drain_s=0,
        report=lambda **message: told.append(message),
        ended=lambda: None,
    )

    door.stored()
    assert told == [{"stored": True}]
    for _ in range(10):
        door.stored()
    assert len(told) == 1
    clock.advance(SOON_S)
    assert len(told) == 2
    clock.advance(SOON_S)
    assert len(told) == 2, "nothing came meanwhile"
    assert not clock.getDelayedCalls()
    door.stored()
    assert len(told) == 3
