# SPDX-License-Identifier: Apache-2.0
"""The command `sparkmodel doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
from typing import Any

from sparkmodel.cluster.common import NAMESPACE
from sparkmodel.doctor.examination import examine, gather
from sparkmodel.doctor.finding import FAIL, HERE, OK, WARN, Finding, worst
from sparkmodel.doctor.leftovers import clean_here
from sparkmodel.doctor.scene import Scene

ABOUT = "look at what is installed, reachable and left over, and say what to do"
_MORE = "Nothing is started or joined, but for a cluster that is named. The exit code is 1 if something fails, else 0."


def add_to(commands: Any) -> None:
    """Make it one of the command line's commands."""
    parser: argparse.ArgumentParser = commands.add_parser("doctor", help=ABOUT, description=f"{ABOUT}. {_MORE}")
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        default=os.environ.get("RAY_ADDRESS"),
        help="look at this Ray cluster too, its nodes and its pools; RAY_ADDRESS by default",
    )
    parser.add_argument("--namespace", default=NAMESPACE, help="Ray namespace of the pools' names")
    parser.add_argument(
        "--master", metavar="URL", help="look at the executors of this Spark too, such as spark://host:7077"
    )
    parser.add_argument("--json", action="store_true", help="print all findings as one JSON object")
    parser.add_argument(
        "--clean", action="store_true", help="remove what dead owners have left, here and with --address on the cluster"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look, clean if that is wanted, print; returns the exit code."""
    address = None if options.address in (None, "", "local", "auto") else options.address
    done = clean_here() if options.clean else []
    scene = gather(address, options.master, options.namespace)
    if options.clean and scene.graves:
        done += _clean_cluster(scene, options.namespace)
    findings = examine(scene)
    print(as_json(findings, done) if options.json else as_text(findings, done))
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
