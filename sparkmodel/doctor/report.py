# SPDX-License-Identifier: Apache-2.0
"""The command `sparkmodel doctor`."""

from __future__ import annotations

import dataclasses
import importlib
import json
from typing import Any

from sparkmodel.doctor.examination import examine, gather
from sparkmodel.doctor.finding import FAIL, HERE, OK, WARN, Finding, worst
from sparkmodel.doctor.leftovers import clean_here
from sparkmodel.doctor.scene import Scene


def run(address: str | None, namespace: str, master: str | None, *, as_json_: bool, clean: bool) -> int:
    """Look, clean if that is wanted, print; returns the exit code.

    Args:
        address: Of a Ray cluster to look at too.
        namespace: Ray namespace of the pools' names.
        master: Of a Spark to look at too.
        as_json_: Whether to print JSON.
        clean: Whether to remove what dead owners have left.
    """
    address = None if address in (None, "", "local", "auto") else address
    done = clean_here() if clean else []
    scene = gather(address, master, namespace)
    if clean and scene.graves:
        done += _clean_cluster(scene, namespace)
    findings = examine(scene)
    print(as_json(findings, done) if as_json_ else as_text(findings, done))
    return 1 if worst(findings) == FAIL else 0


def _clean_cluster(scene: Scene, namespace: str) -> list[str]:
    survey: Any = importlib.import_module("sparkmodel.cluster.survey")
    survey.clean(scene.address, list(scene.graves), namespace)
    done = [f"removed {', '.join(left)} of '{supervisor}'" for supervisor, left in scene.graves.items()]
    scene.graves = {}
    return done


def as_json(findings: list[Finding], done: list[str]) -> str:
    """One object: `status`, `findings` with the fields of `Finding`, and what was `cleaned`."""
    told = {"status": worst(findings), "findings": [dataclasses.asdict(f) for f in findings], "cleaned": done}
    return json.dumps(told, indent=2)


def as_text(findings: list[Finding], done: list[str]) -> str:
    """A line for each finding, and below it what to do."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        at = "" if finding.place == HERE else f"{finding.place}: "
        lines.append(f"{finding.status:4}  {finding.check:{width}}  {at}{finding.fact}")
        if finding.hint:
            lines.append(f"{'':{width + 8}}Hint: {finding.hint}.")
    counts = {status: sum(finding.status == status for finding in findings) for status in (OK, WARN, FAIL)}
    lines += [*done, f"{counts[OK]} ok, {counts[WARN]} to look at, {counts[FAIL]} failing"]
    return "\n".join(lines)
