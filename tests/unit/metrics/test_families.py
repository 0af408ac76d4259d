# SPDX-License-Identifier: Apache-2.0
"""Figures of workers are added up, and stay bounded."""

from __future__ import annotations

from typing import Any

import pytest

from sparkmodel.metrics.exposition import written
from sparkmodel.metrics.families import VERSIONS, families, stage_family
from sparkmodel.metrics.gateway import MODELS, Figures
from sparkmodel.pool.counters import Counters
from sparkmodel.pool.ends import End
from sparkmodel.scoring.series import EDGES_S, Series, added, count, part_of
from tests.unit.metrics.figures import shown


class Member:
    """A worker as its pool counts it."""

    def __init__(self, version: int = 1, **stats: Any) -> None:
        self.version, self.told = version, {"version": version, "queued": 3, "inside": 1, "load_s": 2.0, **stats}

    def stats(self) -> dict[str, Any]:
        return self.told


def series(*batches: tuple[str, str, float, int]) -> Series:
    made: Series = {}
    for source, outcome, seconds, rows in batches:
        count(made, source, outcome, {"queue": 0.0, "predict": seconds, "rows": rows})
    return made


def told(counters: Counters | None = None, members: tuple[Member, ...] | None = None) -> dict[str, Any]:
    """What a pool tells; of one with a bit of everything, unless it is given."""
    if counters is None or members is None:
        counters, dead = Counters(), Member(refused={"POOL_BUSY": 2})
        members = (Member(series=series(("rest", "ok", 0.003, 4), ("batch", "PREDICT_FAILED", 0.1, 9))),)
        counters.read([dead])  # type: ignore[list-item]
        counters.end([dead], End(cause="oom"))  # type: ignore[list-item]
    workers, sums = counters.shown(members)  # type: ignore[arg-type]
    return {**sums, "workers": workers, "figures": counters.figures()}


def read(**pools: Any) -> dict[str, dict[str, float]]:
    return shown(written(families(pools), "")[0].decode())


def test_histograms_of_workers_add_up_bucket_by_bucket() -> None:
    one = series(("rest", "ok", 0.0001, 1), ("rest", "ok", 0.0003, 2), ("sql", "ok", 9999.0, 10))
    two = series(("rest", "ok", 0.0003, 5), ("unheard of", "ok", 1.0, 1))
    both = added([one, two, {}])
    assert set(both) == {"rest ok", "sql ok", "other ok"}
    buckets, total = part_of(both["rest ok"], "predict")
    assert dict(zip([*EDGES_S, "more"], buckets, strict=True)) | {0.0001: 1, 0.0005: 2} == dict(
        zip([*EDGES_S, "more"], buckets, strict=True)
    )
    assert (sum(buckets), total) == (3, pytest.approx(0.0007))
    assert part_of(both["rest ok"], "rows")[1] == 8
    assert part_of(both["sql ok"], "predict")[0][-1] == 1, "beyond the last edge"
    assert one["rest ok"] != both["rest ok"], "what was added is not changed"


def test_sums_do_not_fall_when_workers_die_and_no_series_comes_with_the_next_one() -> None:
    """A counter of each worker resets with it, and labels by worker grow for ever; see docs/metrics.md."""
    counters, shapes, last = Counters(), set(), 0.0
    for life in range(1, 30):
        member = Member(series=series(*[("rest", "ok", 0.01, 1)] * life), refused={"POOL_BUSY": 1})
        seen = read(m=told(counters, (member,)))
        total = seen["sparkmodel_requests_total"]["model=m,outcome=ok,source=rest,version=1"]
        assert total >= last
        shapes.add(sum(len(samples) for name, samples in seen.items() if "restarts" not in name))
        counters.end([member], End(cause="crash"))  # type: ignore[list-item]
        last = total
    assert last == sum(range(1, 30))
    assert len(shapes) == 1
    seen = read(m=told(counters, ()))
    assert seen["sparkmodel_requests_total"] == {"model=m,outcome=ok,source=rest,version=1": last}
    assert seen["sparkmodel_worker_restarts_total"] == {"cause=crash,model=m,version=1": 29}
    assert seen["sparkmodel_rejected_total"] == {"model=m,reason=busy,version=1": 29}


def test_the_next_master_goes_on_from_what_the_last_one_has_counted() -> None:
    first, member = Counters(), Member(series=series(("stream", "ok", 1.0, 3)), refused={"POOL_BUSY": 1})
    first.read([member])  # type: ignore[list-item]
    first.end([member], End(cause="hang"))  # type: ignore[list-item]
    second = Counters()
    second.restore(first.ended())
    assert second.figures() == first.figures()
    second.restore({1: {"batches": 2, "restarts": 1}})  # of a release that counted none of this
    assert second.figures()[1]["series"] == {}


def test_old_versions_are_shown_no_more() -> None:
    figures = {version: {"series": series(("rest", "ok", 1.0, 1))} for version in range(1, 200)}
    figures[3]["weight"] = 1.0  # type: ignore[assignment]
    seen = read(m={"figures": figures, "workers": []})
    assert len(seen["sparkmodel_requests_total"]) == VERSIONS + 1
    assert seen["sparkmodel_version_active"]["model=m,version=3"] == 1


def test_what_waits_and_what_is_in_the_model_are_told_apart() -> None:
    seen = read(m=told())
    assert seen["sparkmodel_inflight"] == {"model=m,version=1": 1}
    assert seen["sparkmodel_queue_depth"] == {"model=m,version=1": 2}
    assert seen["sparkmodel_load_seconds"] == {"model=m,version=1": 2}


def test_a_pool_that_did_not_answer_is_down_and_has_no_figures() -> None:
    seen = read(gone=None)
    assert seen["sparkmodel_pool_up"] == {"model=gone": 0}
    assert "sparkmodel_requests_total" not in seen


def test_a_gateway_forgets_models_that_were_not_called_for_long() -> None:
    figures = Figures()
    for number in range(MODELS + 50):
        figures.answered(f"m{number}", 1, "ok", 0.01, stages={"transfer": 0.01})
        figures.answered("m0", 1, "ok", 0.01)
    told = list(figures.families(stage_family()))
    assert len({sample.labels["model"] for sample in told[0].samples}) == MODELS
    assert sum(sample.value for sample in told[0].samples if sample.labels["model"] == "m0") == MODELS + 51
