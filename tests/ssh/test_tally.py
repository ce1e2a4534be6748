"""Counts that hold: in one process exactly, across processes never too small."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from mmap import mmap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_pipe.ssh.server.tally import Count, OwnTally, Sentence, Shape, SharedTally

TINY = Shape(counted=2, counted_rows=2, punished=2, punished_rows=2)  # everybody shares with somebody
SMALL = Shape(counted=4096, counted_rows=4, punished=4096, punished_rows=4)
SOURCES = st.sampled_from(["192.0.2.1", "192.0.2.2", "198.51.100.9", "20010db8", "local"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 2), st.one_of(st.none(), SOURCES)),
        st.tuples(st.just("name"), st.integers(0, 2), SOURCES),
        st.tuples(st.just("log in"), st.integers(0, 2), st.integers(0, 99)),
        st.tuples(st.just("close"), st.integers(0, 2), st.integers(0, 99)),
        st.tuples(st.just("die"), st.integers(0, 2), st.none()),
    ),
    max_size=40,
)


class Model:
    """Processes as lists of connections, [source, waiting]."""

    def __init__(self, tallies: list) -> None:
        self.tallies = tallies
        self.living: list[list[list]] = [[] for _ in tallies]

    def step(self, what: str, process: int, value) -> None:
        process %= len(self.tallies)
        tally, mine = self.tallies[process], self.living[process]
        if what == "open":
            tally.add(value, 1, 1)
            mine.append([value, True])
        elif what == "name":
            for each in mine:
                if each[0] is None and each[1]:
                    tally.move(value, 1, 1)
                    each[0] = value
                    break
        elif what == "die" and isinstance(tally, SharedTally):
            tally.forget(process)
            mine.clear()
        elif what in ("log in", "close") and mine:
            each = mine[value % len(mine)]
            if what == "close":
                tally.add(each[0], -1, -int(each[1]))
                mine.remove(each)
            elif each[1]:
                tally.add(each[0], 0, -1)
                each[1] = False

    def total(self) -> Count:
        everybody = [each for mine in self.living for each in mine]
        return Count(len(everybody), sum(waiting for _, waiting in everybody))

    def of(self, source: str) -> Count:
        his = [waiting for mine in self.living for name, waiting in mine if name == source]
        return Count(len(his), sum(his))


def shared(processes: int, shape: Shape) -> list[SharedTally]:
    memory = bytearray(SharedTally.size(processes, shape))
    SharedTally.prepare(memory, processes, shape)
    return [SharedTally(memory, index) for index in range(processes)]


@given(STEPS)
def test_one_process_counts_exactly_and_keeps_no_zeros(steps):
    model = Model([OwnTally()])
    (tally,) = model.tallies

    for step in steps:
        model.step(*step)

        assert tally.total() == model.total()
        for source in ("192.0.2.1", "20010db8", "never seen"):
            assert tally.of(source) == model.of(source)
    assert tally.known() == len({name for name, _ in model.living[0] if name is not None})


@settings(max_examples=60)
@given(STEPS)
def test_three_processes_agree_on_all_their_counts(steps):
    """With so many buckets these few sources share none: the odds of one wrong run are below 10 ** -12."""
    model = Model(shared(3, SMALL))

    for step in steps:
        model.step(*step)

    for tally in model.tallies:
        assert tally.total() == model.total()
        for source in ("192.0.2.1", "192.0.2.2", "198.51.100.9", "20010db8", "local", "never seen"):
            assert tally.of(source) == model.of(source)


@settings(max_examples=60)
@given(STEPS)
def test_sources_that_share_buckets_are_never_counted_too_low(steps):
    model = Model(shared(3, TINY))

    for step in steps:
        model.step(*step)

        for source in ("192.0.2.1", "20010db8"):
            found, least = model.tallies[0].of(source), model.of(source)
            assert found.connections >= least.connections and found.waiting >= least.waiting


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), SOURCES, st.floats(1, 1e6), st.floats(0, 1e6)), max_size=30))
def test_the_longest_sentence_of_any_process_counts(notes):
    exact, crowded, own = shared(3, SMALL), shared(3, TINY), OwnTally()
    longest: dict[str, Sentence] = {}
    for process, source, owed, shut in notes:
        sentence = Sentence(owed, shut)
        longest[source] = Sentence(*map(max, longest.get(source, Sentence()), sentence))
        for tally in (exact[process], crowded[process], own):
            tally.punish(source, sentence)

    for source, sentence in longest.items():
        assert own.sentence(source) == sentence
        assert all(tally.sentence(source) == sentence for tally in exact)
        assert all(crowd >= least for crowd, least in zip(crowded[0].sentence(source), sentence, strict=True))
    assert own.sentence("never seen") == exact[0].sentence("never seen") == Sentence()


def test_penalties_of_one_process_are_bounded_and_the_oldest_goes_first():
    tally = OwnTally(punished=3)

    for number in (1, 2, 3, 1, 4):
        tally.punish(f"192.0.2.{number}", Sentence(9, 9))

    assert [tally.sentence(f"192.0.2.{number}").shut_until for number in (1, 2, 3, 4)] == [9, 0, 9, 9]


def test_a_dead_process_gives_its_places_back_and_its_penalties_stay():
    first, second = shared(2, SMALL)
    for tally in (first, second):
        tally.add("192.0.2.1", 3, 2)
    first.punish("192.0.2.1", Sentence(50.0, 50.0))

    second.forget(0)

    assert (second.total(), second.of("192.0.2.1")) == (Count(3, 2), Count(3, 2))
    assert second.sentence("192.0.2.1") == Sentence(50.0, 50.0)


def test_a_column_forgotten_too_early_breaks_nothing():
    (tally,) = shared(1, SMALL)
    tally.add("192.0.2.1", 1, 1)
    tally.forget(0)

    tally.add("192.0.2.1", -1, -1)

    assert tally.total() == tally.of("192.0.2.1") == Count()


def test_buckets_differ_from_start_to_start():
    """Who could compute them could have somebody else refused."""

    def buckets() -> tuple[int, ...]:
        (tally,) = shared(1, Shape())
        return tuple(tally._counted("192.0.2.1"))

    assert buckets() != buckets()


def test_false_alarms_are_as_rare_as_documented():
    """500 sources with ten connections each; of 20,000 newcomers 0.09 % look as if they had some: 18 expected."""
    (tally,) = shared(1, Shape())
    for number in range(500):
        tally.add(f"known {number}", 10, 10)

    wrong = Counter(tally.of(f"new {number}").connections > 0 for number in range(20_000))[True]

    assert wrong < 60  # ten standard deviations above


def test_ten_thousand_punished_addresses_shut_hardly_anybody_else_out():
    """0.0029 % of 5,000 others: 0.15 expected."""
    (tally,) = shared(1, Shape())
    for number in range(10_000):
        tally.punish(f"known {number}", Sentence(9.0, 9.0))

    assert sum(tally.sentence(f"new {number}").shut_until > 0 for number in range(5_000)) <= 6


CHILD = """
import sys
from mmap import mmap
from conch_pipe.ssh.server.tally import Sentence, SharedTally
tally = SharedTally(mmap(int(sys.argv[1]), 0), 1)
assert tally.of("192.0.2.1") == (1, 1), tally.of("192.0.2.1")
tally.add("192.0.2.1", 2, 1)
tally.punish("192.0.2.9", Sentence(7.0, 7.0))
"""


def test_a_process_started_with_the_memory_counts_along():
    descriptor = os.memfd_create("tally")
    try:
        os.ftruncate(descriptor, SharedTally.size(2))
        memory = mmap(descriptor, 0)
        SharedTally.prepare(memory, 2)
        tally = SharedTally(memory, 0)
        tally.add("192.0.2.1", 1, 1)

        subprocess.run([sys.executable, "-c", CHILD, str(descriptor)], pass_fds=[descriptor], check=True)
    finally:
        os.close(descriptor)

    assert tally.total() == tally.of("192.0.2.1") == Count(3, 2)
    assert tally.sentence("192.0.2.9") == Sentence(7.0, 7.0)


def test_memory_that_does_not_fit_is_refused():
    memory = bytearray(SharedTally.size(1, TINY))
    with pytest.raises(ValueError, match="not made ready"):
        SharedTally(memory, 0)
    with pytest.raises(ValueError, match="too small"):
        SharedTally.prepare(memory, 2, TINY)

    SharedTally.prepare(memory, 1, TINY)

    with pytest.raises(ValueError, match="no such column"):
        SharedTally(memory, 1)


def test_the_sizes_are_those_of_the_documentation():
    assert Shape().column_bytes == 64 + 256 * 1024 + 8 * 2**20
