"""The text that Prometheus reads, from the tally and from gauges that are looked up for it.

What must be asked of others is waited for a bounded time, and asked again only after a while: whoever reads the text
cannot load the service by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from conch_pipe.health import Question
from conch_pipe.interfaces import InThread
from conch_pipe.interfaces.health import IMetrics
from conch_pipe.metrics.catalogue import GAUGES, Sample
from conch_pipe.metrics.tally import Snapshot, Tally

KEPT_S = 1.0  # a text
ASKED_S = 5.0  # what others told
WAIT_S = 3.0  # longer than a check of the service takes, or it would be left out just when it is not well


class Families(Collector):
    """See prometheus_client's Collector: what there is at one moment."""

    def __init__(self, counted: Snapshot, samples: Iterable[Sample]) -> None:
        self._counted = counted
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        """All families; those that nobody told of are there without a sample."""
        for metric, cells in self._counted:
            if metric.kind == "counter":
                counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, value in cells.items():
                    counter.add_metric(labels, value)
                yield counter
                continue
            spread = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            bounds = [*map(str, metric.buckets), "+Inf"]
            for labels, numbers in cells.items():
                buckets = list(zip(bounds, accumulate(numbers[:-1]), strict=True))
                spread.add_metric(labels, buckets, sum_value=numbers[-1])
            yield spread
        gauges: dict[str, Any] = {
            one.name: (CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily)(
                one.name, one.help, labels=one.labels
            )
            for one in GAUGES
        }
        for metric, labels, value in self._samples:
            gauges[metric.name].add_metric(labels, value)
        yield from gauges.values()


@implementer(IMetrics)
class Exposition:
    """See IMetrics.

    :param looks: functions of samples, which return at once.
    :param questions: functions of a Deferred of samples; what is not answered in time, or fails, is left out.
    :param in_thread: where the text is written: thousands of lines take some 20 ms.
    """

    def __init__(
        self,
        tally: Tally,
        clock: IReactorTime,
        looks: Sequence[Callable[[], Iterable[Sample]]] = (),
        questions: Sequence[Callable[[], Deferred[Iterable[Sample]]]] = (),
        in_thread: InThread = execute,
    ) -> None:
        self._in_thread: Any = in_thread
        self._tally = tally
        self._clock = clock
        self._looks = looks
        self._questions = [Question(ask, clock, wait_s=WAIT_S, kept_s=ASKED_S) for ask in questions]
        self._text = Question(lambda: Deferred.fromCoroutine(self._make()), clock, wait_s=2 * WAIT_S, kept_s=KEPT_S)

    async def text(self) -> bytes:
        """See IMetrics."""
        answer = await self._text.answer()
        made: bytes = answer.result()
        return made

    async def _make(self) -> bytes:
        answers = [question.answer() for question in self._questions]  # all at once
        samples = [sample for look in self._looks for sample in look()]
        for waiting in answers:
            answer = await waiting
            if not answer.problem:
                samples += answer.value
        text: bytes = await self._in_thread(_written, self._tally.now(), samples)
        return text


def _written(counted: Snapshot, samples: list[Sample]) -> bytes:
    registry = CollectorRegistry()
    registry.register(Families(counted, samples))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
