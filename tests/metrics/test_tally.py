"""Sums and spreads: nothing is lost between processes, and there are never too many labels."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from conch_pipe.metrics.catalogue import (
    COUNTED,
    LAG,
    LOGINS,
    METRICS,
    OPEN,
    REFUSED,
    STAGE_SECONDS,
    STAGES,
    UPLOADS,
)
from conch_pipe.metrics.tally import MOST, OTHER, Tally


def sent(tally: Tally) -> list:
    """What is taken, as it comes out of the pipe."""
    return json.loads(json.dumps(tally.take()))


def test_what_is_taken_is_added_to_the_parents_and_taken_once():
    door, parent = Tally(COUNTED, filled=False), Tally(COUNTED)
    for _ in range(2):
        door.sum(UPLOADS).add(("acme", "shifts", "completed"), 2)
        door.spread(LAG).add(("door",), 0.02)
        parent.merge(sent(door))

    assert parent.sum(UPLOADS).cells["acme", "shifts", "completed"] == 4
    assert parent.spread(LAG).cells["door",][3] == 2
    assert parent.spread(LAG).cells["door",][-1] == 0.04
    assert door.take() == []


@given(st.lists(st.tuples(st.sampled_from(STAGES), st.floats(0, 1e6)), max_size=50), st.data())
def test_however_it_is_cut_into_parts_the_sum_is_the_same(observed, data):
    whole, parent, door = Tally(COUNTED), Tally(COUNTED), Tally(COUNTED, filled=False)
    for stage, seconds in observed:
        whole.spread(STAGE_SECONDS).add((stage,), seconds)
        door.spread(STAGE_SECONDS).add((stage,), seconds)
        if data.draw(st.booleans()):
            parent.merge(sent(door))
    parent.merge(sent(door))

    for stage in STAGES:
        counted, merged = (one.spread(STAGE_SECONDS).cells[stage,] for one in (whole, parent))
        assert counted[:-1] == merged[:-1]
        assert abs(counted[-1] - merged[-1]) <= 1e-9 * abs(counted[-1])


def test_a_flood_of_organisations_ends_in_one_that_stands_for_all_others():
    tally = Tally(COUNTED)
    for number in range(10 * MOST):
        tally.sum(UPLOADS).add((f"org-{number}", "shifts", "failed"))
    tally.sum(UPLOADS).add(("org-1", "shifts", "completed"))  # is known, so are its other verdicts

    cells = tally.sum(UPLOADS).cells
    assert len(cells) == 2 * MOST + 1
    assert cells[OTHER, OTHER, "failed"] == 9 * MOST
    assert cells["org-1", "shifts", "completed"] == 1


def test_the_first_of_an_organisation_is_an_increase_too():
    """Of a series that begins with 1, Prometheus cannot tell that there was none before."""
    door, parent = Tally(COUNTED, filled=False), Tally(COUNTED)
    door.sum(UPLOADS).expect(("acme", "shifts"))
    parent.merge(sent(door))
    assert parent.sum(UPLOADS).cells == {("acme", "shifts", "completed"): 0, ("acme", "shifts", "failed"): 0}

    door.sum(UPLOADS).add(("acme", "shifts", "failed"))
    parent.merge(sent(door))

    assert parent.sum(UPLOADS).cells["acme", "shifts", "failed"] == 1


def test_open_labels_are_the_first_of_each_metric():
    for metric in METRICS.values():
        free = [label in OPEN for label in metric.labels]
        assert free == sorted(free, reverse=True), metric.name


def test_the_cap_holds_for_what_doors_tell_as_well():
    parent = Tally(COUNTED)
    for number in range(2 * MOST):
        parent.merge([[REFUSED.name, [f"org-{number}", "invalid"], 1]])

    assert len(parent.sum(REFUSED).cells) == MOST + 1
    assert sum(parent.sum(REFUSED).cells.values()) == 2 * MOST


def test_a_door_of_another_version_harms_nobody():
    parent = Tally(COUNTED)
    before = [dict(cells.cells) for cells in parent]

    parent.merge([["pipe_sftp_unheard_of_total", [], 1], [LOGINS.name, ["sftp"], 1], [LAG.name, ["door"], [1, 2]]])

    assert [dict(cells.cells) for cells in parent] == before


def test_what_is_known_beforehand_is_there_from_the_start():
    """The first failure of a kind is an increase from zero, not a series that comes from nowhere."""
    tally = Tally(COUNTED)

    assert set(tally.sum(LOGINS).cells.values()) == {0}
    assert ("http", "secret") in tally.sum(LOGINS).cells
    assert tally.sum(UPLOADS).cells == {}
