# SPDX-License-Identifier: Apache-2.0
"""The two charts that are drawn from a day in the record of calls."""

from __future__ import annotations

import datetime
import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks import style
from benchmarks.traffic_calls import ALL, DAY, HOUR_S, Traffic

_TRAFFIC = {traffic.model: traffic for traffic in ALL}
_JOBS = {"batch": "batch job", "sql": "SQL queries"}  # a stream goes on all day
_LEAST_RANGE = 6.0  # from the bottom of a scale to its top
# from light to dark
_QUANTILES = {"p50_s": "#8fc1dc", "p95_s": "#4f97ba", "p99_s": "#1f6f8b", "p999_s": "#0b2f3f"}


def times(rows: Sequence[Any], path: pathlib.Path) -> None:
    """Call time against prediction time, a panel for each model.

    Args:
        rows: With `time`, `model`, `call_s` and `predict_s`, by model and time.
        path: Where the picture goes.
    """

    def panel(axis: Axes, part: list[Any]) -> str:
        at = [_hours(row.time) for row in part]
        call, predict = ([1e3 * row[name] for row in part] for name in ("call_s", "predict_s"))
        axis.fill_between(at, predict, call, color=style.OURS, alpha=0.15, linewidth=0)
        for name, values, colour, above in (("call", call, style.OURS, 5), ("model", predict, style.SECOND, -5)):
            axis.plot(at, values, color=colour, linewidth=1.4)
            _label(axis, name, at[-1], values[-1], colour, above)
        worst = max(range(len(part)), key=call.__getitem__)
        share = predict[worst] / call[worst]
        return f"{part[0].model}: at worst {_ms(call[worst])} ({_clock(at[worst])}), {share:.0%} of it in the model"

    title = "A slow version is slow in the model; a batch job and a busy hour make callers wait for workers"
    _draw(rows, panel, title, "milliseconds, means of ten minutes", path)


def quantiles(rows: Sequence[Any], path: pathlib.Path) -> None:
    """The median to the 999th of thousand by hour, a panel for each model.

    Args:
        rows: With `hour`, `model`, and `p50_s` to `p999_s`, by model and hour.
        path: Where the picture goes.
    """

    def panel(axis: Axes, part: list[Any]) -> str:
        at = [_hours(row.hour) for row in part]
        for name, colour in _QUANTILES.items():
            values = [1e3 * row[name] for row in part]
            axis.step([*at, at[-1] + 1], [*values, values[-1]], where="post", color=colour, linewidth=1.4)
            _label(axis, name.removesuffix("_s"), at[-1] + 1, values[-1], style.INK)
        worst = max(part, key=lambda row: row.p999_s)
        return (
            f"{worst.model}: highest p999 is {_ms(1e3 * worst.p999_s)} ({_clock(_hours(worst.hour))}), while p50 is"
            f" {_ms(1e3 * worst.p50_s)}"
        )

    title = "A median tells of the slow version, hardly of the batch job: p95 to p999 do"
    _draw(rows, panel, title, "milliseconds of a request", path)


def _draw(
    rows: Sequence[Any], panel: Callable[[Axes, list[Any]], str], title: str, unit: str, path: pathlib.Path
) -> None:
    parts = [list(part) for _, part in itertools.groupby(rows, key=lambda row: row.model)]
    figure, axes = plt.subplots(
        len(parts), 1, figsize=(9, 0.8 + 2.3 * len(parts)), sharex=True, squeeze=False, layout="constrained"
    )
    for axis, part in zip(axes[:, 0], parts, strict=True):
        axis.set_yscale("log")
        axis.margins(x=0.01, y=0.18)  # room for what is written above the lines
        axis.set_title(panel(axis, part), loc="left", fontsize=9)
        _widen(axis)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_ylabel(unit, fontsize=style.SMALL)
        axis.grid(axis="y", color=style.OTHERS, alpha=0.4, linewidth=0.6)
        style.plain(axis)
        _mark(axis, _TRAFFIC[part[0].model])
    last = axes[-1, 0]
    last.set_xlabel("hour of a simulated day (UTC); logarithmic scales", fontsize=style.SMALL)
    last.set_xticks(range(0, 25, 3), [f"{hour:02}:00" for hour in range(0, 25, 3)])
    figure.suptitle(title, fontsize=10)
    style.save(figure, path)


def _widen(axis: Axes) -> None:
    """Let the scale reach far enough that small changes look small."""
    low, high = axis.get_ylim()
    more = max(1.0, _LEAST_RANGE / (high / low)) ** 0.5
    axis.set_ylim(low / more, high * more)


def _mark(axis: Axes, traffic: Traffic) -> None:
    """What the simulation did when."""
    spans = [(*jobs.hours, _JOBS[jobs.source]) for jobs in traffic.jobs if jobs.source in _JOBS]
    if traffic.busy is not None:
        spans.append((traffic.busy[0], traffic.busy[0] + 1, "busy hour"))
    if traffic.slow is not None:
        spans.append((*traffic.slow[:2], "version 2"))
    for begin, end, text in spans:
        axis.axvspan(begin, end, color=style.OTHERS, alpha=0.25, linewidth=0)
        axis.text(
            (begin + end) / 2, 0.97, text, transform=axis.get_xaxis_transform(), ha="center", va="top", fontsize=7
        )


def _label(axis: Axes, text: str, x: float, y: float, colour: str, above: int = 0) -> None:
    axis.annotate(
        text, (x, y), xytext=(4, above), textcoords="offset points", va="center", fontsize=style.SMALL, color=colour
    )


def _hours(moment: datetime.datetime) -> float:
    return (moment.timestamp() - DAY) / HOUR_S


def _clock(hours: float) -> str:
    return f"{int(hours):02}:{round(hours % 1 * 60):02}"


def _ms(value: float) -> str:
    return f"{value / 1000:.2g} s" if value >= 1000 else f"{value:.2g} ms" if value < 100 else f"{value:.0f} ms"
