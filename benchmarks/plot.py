# SPDX-License-Identifier: Apache-2.0
"""The results as bars."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks import style
from benchmarks.common import Measure, Result

_UNITS = {"s": "seconds", "ms": "milliseconds, logarithmic scale", "loads": "model loads", "MB": "megabytes"}


def draw(path: pathlib.Path, results: Sequence[Result]) -> None:
    """One panel for each benchmark: median as bar, least and greatest run as whisker, sparkmodel in colour."""
    heights = [1.0 + 0.35 * len(result.measures) for result in results]
    figure, axes = plt.subplots(
        len(results), 1, figsize=(9, sum(heights) + 0.6), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, result in zip(axes[:, 0], results, strict=True):
        _panel(axis, result)
    figure.suptitle("Lower is better; bars are medians, whiskers the least and the greatest run", fontsize=10)
    style.save(figure, path)


def _panel(axis: Axes, result: Result) -> None:
    measures = result.measures
    values = [measure.value for measure in measures]
    # a value computed over all calls can lie outside of its runs' values
    below = [max(0.0, value - min(m.runs)) for value, m in zip(values, measures, strict=True)]
    above = [max(0.0, max(m.runs) - value) for value, m in zip(values, measures, strict=True)]
    colours = [style.OURS if measure.is_ours else style.OTHERS for measure in measures]
    axis.barh([m.name for m in measures], values, xerr=(below, above), color=colours, ecolor=style.INK, capsize=2)
    unit = measures[0].unit
    if unit == "ms":
        axis.set_xscale("log")
    axis.set_xlim(right=max(v + a for v, a in zip(values, above, strict=True)) * (3 if unit == "ms" else 1.2))
    for i, (measure, value) in enumerate(zip(measures, values, strict=True)):
        axis.annotate(
            _label(measure, value),
            (value + above[i], i),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.SMALL,
        )
    axis.invert_yaxis()
    axis.set_title("\n".join(textwrap.wrap(f"{result.id}: {result.title}", 90)), loc="left", fontsize=10)
    axis.set_xlabel(_UNITS[unit], fontsize=style.SMALL)
    style.plain(axis)


def _label(measure: Measure, value: float) -> str:
    number = f"{value:,.0f}" if measure.unit in ("loads", "MB") else f"{value:.3g}"
    return f"{number} {measure.unit}" if measure.ratio is None else f"{number} {measure.unit} ({measure.ratio:.2g}x)"
