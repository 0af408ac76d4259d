# SPDX-License-Identifier: Apache-2.0
"""A cluster as one who comes by sees it: its nodes, its pools, and what nobody owns any more. It changes nothing."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sparkmodel.cluster import claims, connection
from sparkmodel.cluster.answers import lives
from sparkmodel.cluster.common import NAMESPACE
from sparkmodel.cluster.graves import bury
from sparkmodel.cluster.nodes import BOUND, DETACHED, named
from sparkmodel.cluster.pools import Pool
from sparkmodel.cluster.reservations import reserved
from sparkmodel.errors import SparkModelError

_NODE_S = 60.0  # a node starts a process for it
_ID = 8


@dataclasses.dataclass
class Survey:
    """What was seen.

    Attributes:
        nodes: What each node that lives says of itself, by address.
        silent: Why others say nothing, by address.
        pools: Of each its name, state, version, workers, endpoints, whether it speaks TLS, or the error instead.
        graves: What supervisors have left that have ended for good, by their names.
    """

    nodes: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    silent: dict[str, str] = dataclasses.field(default_factory=dict)
    pools: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    graves: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def look(address: str, text: str, namespace: str = NAMESPACE) -> Survey:
    """Join a cluster that is there, look, and leave.

    Args:
        address: `host:port`.
        text: Of a module whose function `collect` each node runs.
        namespace: Of the pools' names.

    Raises:
        RayUnavailableError: it cannot be joined.
    """
    connection.connect(address, namespace, spares=0, log_to_driver=False, logging_level="ERROR")
    try:
        survey = Survey()
        asked = _ask_nodes(text)
        supervisors = _supervisors(namespace)
        _look_at_pools(survey, namespace, supervisors)
        survey.graves = _graves(namespace, supervisors)
        for node, answer in asked.items():
            try:
                survey.nodes[node] = json.loads(ray.get(answer, timeout=_NODE_S))
            except ray.exceptions.RayError as error:
                survey.silent[node] = str(error).splitlines()[0] if str(error) else type(error).__name__
        return survey
    finally:
        connection.shutdown()


def clean(address: str, supervisors: list[str], namespace: str = NAMESPACE) -> None:
    """Remove what supervisors have left that have ended for good; of one that is there again, nothing."""
    connection.connect(address, namespace, spares=0, log_to_driver=False, logging_level="ERROR")
    try:
        for supervisor in supervisors:
            if _is_dead(namespace, supervisor):
                bury(namespace, supervisor)
                for entry in list(claims.entries(namespace)):
                    if entry.supervisor == supervisor:
                        claims.release(namespace, entry)
    finally:
        connection.shutdown()


def _ask_nodes(text: str) -> dict[str, Any]:
    def run(source: str) -> str:  # sent as it is: a node may have no sparkmodel
        names: dict[str, Any] = {"__name__": "sparkmodel_doctor_facts"}
        exec(source, names)
        return json.dumps(names["collect"]([]))

    remote: Any = ray.remote
    task, nodes = remote(num_cpus=0, max_retries=0)(run), ray.nodes
    asked = {}
    for node in nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            at = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            place = f"node {node['NodeManagerAddress']} ({node['NodeID'][:_ID]})"
            asked[place] = task.options(scheduling_strategy=at).remote(text)
    return asked


def _supervisors(namespace: str) -> dict[str, bool]:
    """All that the cluster knows of by name, and whether each lives."""
    found = {entry.supervisor for entry in claims.entries(namespace)}
    for kind in (BOUND, DETACHED):
        found |= {name.partition(":")[0] for name in (*named(namespace, kind), *reserved(kind))}
    return {supervisor: not _is_dead(namespace, supervisor) for supervisor in sorted(found)}


def _is_dead(namespace: str, supervisor: str) -> bool:
    try:
        actor = ray.get_actor(supervisor, namespace=namespace)
    except ValueError:
        return True
    return not lives(actor.pid.remote())


def _look_at_pools(survey: Survey, namespace: str, supervisors: dict[str, bool]) -> None:
    for entry in claims.entries(namespace):
        actor = claims.supervisor_of(namespace, entry) if supervisors.get(entry.supervisor) else None
        if actor is None:
            continue
        told: dict[str, Any] = {"name": entry.name, "workers": [], "endpoints": []}
        try:
            pool = Pool(entry, actor)
            stats, handle = pool.stats(), pool.handle()
            told.update({key: stats.get(key) for key in ("state", "version", "workers", "last_error")})
            told["endpoints"] = [handle.pool.master, *handle.pool.directory.endpoints]
            told["tls"] = handle.credential.tls is not None
        except SparkModelError as error:
            told["error"] = str(error.args[1])
        survey.pools.append(told)


def _graves(namespace: str, supervisors: dict[str, bool]) -> dict[str, list[str]]:
    graves: dict[str, list[str]] = defaultdict(list)
    for entry in claims.entries(namespace):
        if not supervisors.get(entry.supervisor, True):
            graves[entry.supervisor].append(f"the name '{entry.name}'")
    for supervisor, is_living in supervisors.items():
        if not is_living:
            for what, left in (
                ("actors", named(namespace, f"{supervisor}:")),
                ("reservations", reserved(f"{supervisor}:")),
            ):
                if left:
                    graves[supervisor].append(f"{len(left)} {what}")
    return dict(graves)
