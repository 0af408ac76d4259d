# SPDX-License-Identifier: Apache-2.0
"""What a gateway counts of its own requests. Names of models are those that it found, never what clients wrote."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from sparkmodel.metrics.families import add_histogram
from sparkmodel.scoring.series import EDGES_S, OK

MODELS = 200  # of which figures are kept; of more, those that were called last
_SOURCE = "rest"


class Figures:
    """Counts requests; all in the event loop's thread, but for who reads.

    Attributes:
        inflight: Requests that are being answered.
    """

    def __init__(self) -> None:
        self.inflight = 0
        self._requests: dict[tuple[str, str, str], int] = {}  # model, version, outcome
        self._seconds: dict[tuple[str, str], _Histogram] = {}
        self._stages: dict[tuple[str, str, str, str], _Histogram] = {}  # the labels of its family
        self._retries: dict[str, int] = {}
        self._hedges: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._known: dict[str, None] = {}

    def answered(
        self,
        model: str,
        version: int,
        outcome: str,
        seconds: float,
        *,
        stages: Mapping[str, float] | None = None,
        retries: int = 0,
        hedged: bool = False,
    ) -> None:
        """One request has its answer.

        Args:
            model: Name of a model that was found; empty where none was.
            version: That answered, or was to.
            outcome: `ok` or the condition of the error.
            seconds: From its first byte to its answer.
            stages: Of these, those that a gateway knows: `wait` for its turn, `transfer` to workers and back; None
                where it did not get there.
            retries: Times that a worker was lost on the way.
            hedged: Whether it went to a second worker.
        """
        if not model:
            self._unknown[outcome] = self._unknown.get(outcome, 0) + 1
            return
        self._keep(model)
        label = str(version)
        key = model, label, outcome or OK
        self._requests[key] = self._requests.get(key, 0) + 1
        self._seconds.setdefault((model, label), _Histogram()).add(seconds)
        self._retries[model] = self._retries.get(model, 0) + retries
        self._hedges[model] = self._hedges.get(model, 0) + hedged
        for stage, taken in (stages or {}).items():
            self._stages.setdefault((model, label, _SOURCE, stage), _Histogram()).add(taken)

    def families(self, stages: HistogramMetricFamily) -> Iterable[Metric]:
        """The gateway's own families; what it knows of the way is added to `stages`."""
        requests = CounterMetricFamily(
            "sparkmodel_gateway_requests",
            "Requests that were answered, by model; of none where no model was found",
            labels=["model", "version", "source", "outcome"],
        )
        for (model, version, outcome), count in list(self._requests.items()):
            requests.add_metric([model, version, _SOURCE, outcome], count)
        for outcome, count in list(self._unknown.items()):
            requests.add_metric(["", "", _SOURCE, outcome], count)
        seconds = HistogramMetricFamily(
            "sparkmodel_gateway_request_seconds", "Seconds of a request in the gateway", labels=["model", "version"]
        )
        for labels, one in list(self._seconds.items()):
            add_histogram(seconds, labels, EDGES_S, one.counts, one.total)
        for of_stage, one in list(self._stages.items()):
            add_histogram(stages, of_stage, EDGES_S, one.counts, one.total)
        retries = CounterMetricFamily(
            "sparkmodel_retries", "Batches that were sent again as their worker was lost", labels=["model", "source"]
        )
        hedges = CounterMetricFamily("sparkmodel_hedges", "Requests that went to a second worker", labels=["model"])
        for model, count in list(self._retries.items()):
            retries.add_metric([model, _SOURCE], count)
            hedges.add_metric([model], self._hedges.get(model, 0))
        inflight = GaugeMetricFamily("sparkmodel_gateway_inflight", "Requests that are being answered", self.inflight)
        return requests, seconds, retries, hedges, inflight

    def _keep(self, model: str) -> None:
        """Models come and go: those that were not called for longest are forgotten."""
        self._known.pop(model, None)
        self._known[model] = None
        if len(self._known) > MODELS:
            old = next(iter(self._known))
            del self._known[old]
            self._requests = {key: count for key, count in self._requests.items() if key[0] != old}
            self._seconds = {key: one for key, one in self._seconds.items() if key[0] != old}
            self._stages = {key: one for key, one in self._stages.items() if key[0] != old}
            for counts in (self._retries, self._hedges):
                counts.pop(old, None)


class _Histogram:
    def __init__(self) -> None:
        self.counts, self.total = [0.0] * (len(EDGES_S) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(EDGES_S, value)] += 1
        self.total += value
