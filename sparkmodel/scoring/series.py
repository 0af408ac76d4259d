# SPDX-License-Identifier: Apache-2.0
"""Histograms of a worker's batches, by who calls and what came of them, that can be added up over workers.

A series is a flat list of numbers, so that adding two is adding their numbers: for each part the batches of each
bucket, the last one for what is beyond the edges, and then the sum of all values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

EDGES_S = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 60.0, 120.0, 300.0, 600.0),
)
EDGES_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000)
SOURCES = ("batch", "stream", "sql", "rest", "python")
OTHER, OK = "other", "ok"
PARTS: dict[str, Sequence[float]] = {"queue": EDGES_S, "predict": EDGES_S, "rows": EDGES_ROWS}

Series = dict[str, list[float]]  # by source and outcome, with a space between: what is told of it may become JSON

_START: dict[str, int] = {}
_SIZE = 0
for _part, _edges in PARTS.items():
    _START[_part] = _SIZE
    _SIZE += len(_edges) + 2


def count(series: Series, source: str, outcome: str, values: Mapping[str, float]) -> None:
    """Count one batch.

    Args:
        series: Where.
        source: Who calls, as it was told; a word that is not known counts as `other`, so that there are never many.
        outcome: `ok`, or the condition of the error.
        values: Of each part.
    """
    key = f"{source if source in SOURCES else OTHER} {outcome}"
    numbers = series.get(key)
    if numbers is None:
        numbers = series[key] = [0.0] * _SIZE
    for part, value in values.items():
        start, edges = _START[part], PARTS[part]
        numbers[start + bisect_left(edges, value)] += 1
        numbers[start + len(edges) + 1] += value


def added(many: Iterable[Mapping[str, Sequence[float]]]) -> Series:
    """All of them together."""
    total: Series = {}
    for series in many:
        for key, numbers in series.items():
            known = total.get(key)
            total[key] = list(numbers) if known is None else [a + b for a, b in zip(known, numbers, strict=True)]
    return total


def part_of(numbers: Sequence[float], part: str) -> tuple[list[float], float]:
    """The batches of each bucket of a part, and the sum of its values."""
    start, size = _START[part], len(PARTS[part])
    return list(numbers[start : start + size + 1]), numbers[start + size + 1]
