# SPDX-License-Identifier: Apache-2.0
"""Where the numbers go: results.json, the table in README.md, the plot."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

from pyspark.sql import SparkSession

from benchmarks.common import Measure, Result
from benchmarks.plot import draw

HERE = pathlib.Path(__file__).parent
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
_PACKAGES = ("sparkmodel", "pyspark", "ray", "mlflow", "pyarrow", "pandas", "numpy", "scikit-learn")
_HEADER = (
    "| | Contender | Median | Min | Max | sparkmodel / this | Goal | |",
    "|---|---|--:|--:|--:|--:|---|---|",
)


def environment(spark: SparkSession, command: str) -> dict[str, Any]:
    """Machine, versions and command. No names of machines or people."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_before": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "versions": {
            "Python": platform.python_version(),
            "Java": str(spark.sql("SELECT java_method('java.lang.System', 'getProperty', 'java.version')").first()[0]),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }


def _cpu() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write(output: pathlib.Path, where: dict[str, Any], results: Sequence[Result]) -> str:
    """Write results.json, README.md and results.png into a directory; returns the table.

    README.md is this folder's, with what stands between the markers replaced.
    """
    output.mkdir(parents=True, exist_ok=True)
    raw = {"environment": where, "benchmarks": [dataclasses.asdict(result) for result in results]}
    (output / "results.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    draw(output / "results.png", results)
    table = "\n".join(_table(results))
    head, rest = (HERE / "README.md").read_text(encoding="utf-8").split(BEGIN)
    tail = rest.split(END)[1]
    text = "\n\n".join([f"{head}{BEGIN}", _describe(where), table, "![The same as bars](results.png)", f"{END}{tail}"])
    (output / "README.md").write_text(text, encoding="utf-8")
    return table


def _describe(where: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    return (
        f"`{where['command']}` on {where['date']}; {where['cpu']}, {where['cores']} cores, "
        f"{where['memory_gb']} GB of memory, {where['system']}; load average before the run {where['load_before']}; "
        f"{versions}."
    )


def _table(results: Sequence[Result]) -> list[str]:
    lines = list(_HEADER)
    for result in results:
        lines.append(f"| **{result.id}** | **{result.title}** | | | | | | |")
        lines += [_line(result.id, measure) for measure in result.measures]
    return lines


def _line(id_: str, measure: Measure) -> str:
    verdict = f"**{measure.verdict}**" if measure.verdict.startswith("missed") else measure.verdict
    cells = [
        id_,
        f"**{measure.name}**" if measure.is_ours else measure.name,
        _number(measure.value, measure.unit),
        _number(min(measure.runs), measure.unit),
        _number(max(measure.runs), measure.unit),
        "" if measure.ratio is None else f"{measure.ratio:.3g}x",
        measure.goal,
        verdict,
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if unit in ("loads", "MB") else f"{value:.3g} {unit}"
