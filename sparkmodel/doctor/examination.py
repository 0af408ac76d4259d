# SPDX-License-Identifier: Apache-2.0
"""The doctor's visit: gather what there is, let every check say what it finds."""

from __future__ import annotations

import importlib
import inspect
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import Any

from sparkmodel.doctor import facts
from sparkmodel.doctor.finding import FAIL, WARN, Finding
from sparkmodel.doctor.leftovers import check_directories, check_graves, check_processes
from sparkmodel.doctor.network import check_ports, check_reach, check_strangers
from sparkmodel.doctor.scene import Check, Scene, look_here
from sparkmodel.doctor.serving import check_pools
from sparkmodel.doctor.tokens import check_head, check_permissions, check_token_mode
from sparkmodel.doctor.versions import check_jar, check_java, check_packages, check_python, check_requirements
from sparkmodel.errors import SparkModelError

CHECKS: tuple[Check, ...] = (
    check_python,
    check_packages,
    check_requirements,
    check_java,
    check_jar,
    check_token_mode,
    check_head,
    check_permissions,
    check_ports,
    check_strangers,
    check_directories,
    check_processes,
    check_graves,
    check_pools,
    check_reach,
)
_RAY_S = 120.0  # where a head listens but does not work


def gather(address: str | None, master: str | None, namespace: str) -> Scene:
    """The scene of this process, and of Ray and Spark where they were named; neither is ever started.

    Args:
        address: Of Ray, `host:port`.
        master: Of Spark.
        namespace: Ray's, of the pools' names.
    """
    scene = look_here(address=address, master=master)
    if address is not None and not any(finding.status == FAIL for finding in check_head(scene)):
        _look_at_ray(scene, namespace)
    endpoints = scene.endpoints()
    scene.here = {**scene.here, "reach": [[*one, facts.reach(*one, 2.0)] for one in endpoints]}
    if master is not None:
        view: Any = importlib.import_module("sparkmodel.doctor.spark_view")  # it imports pyspark
        scene.executors, lost = view.look_at_executors(master, inspect.getsource(facts), endpoints)
        scene.lost += lost
    return scene


def _look_at_ray(scene: Scene, namespace: str) -> None:
    answer: Future[Any] = Future()

    def look() -> None:
        try:
            survey: Any = importlib.import_module("sparkmodel.cluster.survey")  # it imports Ray
            answer.set_result(survey.look(scene.address, inspect.getsource(facts), namespace))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=look, name="sparkmodel-doctor", daemon=True).start()
    try:
        seen = answer.result(_RAY_S)
    except TooLate:
        fact = f"the cluster at {scene.address} did not answer within {_RAY_S:g} s"
        scene.lost.append(Finding("ray", FAIL, fact, "look at its logs", "Ray"))
        return
    except SparkModelError as error:
        fact, hint = str(error.args[1]), str(error.args[2]) if len(error.args) > 2 else ""
        scene.lost.append(Finding("ray", FAIL, fact, hint, "Ray"))
        return
    except Exception as error:  # Ray's own, of many kinds, where it works by halves
        lines = str(error).strip().splitlines() or [type(error).__name__]
        fact = f"the cluster at {scene.address} could not be looked at: {lines[0]}"
        scene.lost.append(Finding("ray", FAIL, fact, "look at its logs", "Ray"))
        return
    scene.nodes, scene.pools, scene.graves = seen.nodes, seen.pools, seen.graves
    scene.lost += [
        Finding("ray", WARN, f"it does not answer: {why}", "look at its logs", at) for at, why in seen.silent.items()
    ]


def examine(scene: Scene) -> list[Finding]:
    """What all checks find. One that fails itself is a finding too."""
    findings = list(scene.lost)
    for check in CHECKS:
        try:
            findings += check(scene)
        except Exception as error:
            name = check.__name__.removeprefix("check_")
            findings.append(Finding(name, WARN, f"the check itself failed: {error!r}", "report it"))
    return findings
