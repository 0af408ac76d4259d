# SPDX-License-Identifier: Apache-2.0
"""What is told of a model: its card, and all that is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sparkmodel.control.sql_options import settings_of
from sparkmodel.keeper.pools import Pool
from sparkmodel.options import workers_text
from sparkmodel.rest.admin.types import to_ddl
from sparkmodel.schema import Column
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory

Json = dict[str, Any]
_OF_WORKERS = (
    *("pid", "version", "node", "rows", "batches", "errors", "queued", "predict_s", "load_s", "answers"),
    *("state", "last_end"),
)
_HIDDEN = ("extra_env", "runtime_env")  # may hold secrets: only their names are told


def card_of(pool: Pool) -> Json:
    """A model's card."""
    return _card(pool, pool.stats())


def details_of(pool: Pool) -> Json:
    """The card, and what a page about the model shows."""
    stats, error = pool.stats(), None
    if last := stats.get("last_error"):
        error = {"time": last["time"], "at": iso(last["time"]), "message": without_values(str(last["message"]))}
    latency = stats.get("latency", {})
    return {
        **_card(pool, stats),
        "latency": {key: latency.get(key) for key in ("p50_s", "p95_s", "p99_s")},
        "last_error": error,
        "workers_now": [{key: worker.get(key) for key in _OF_WORKERS} for worker in stats["workers"]],
        "versions": pool.versions(),
        "restarts": stats.get("restarts", 0),
        "spares": pool.spares(),
    }


def _card(pool: Pool, stats: Mapping[str, Any]) -> Json:
    spec, version = pool.spec()
    inputs, workers = spec.signature.inputs, spec.options.workers
    return {
        "name": spec.name,
        "version": version,
        "source": spec.source.given,
        "resolved": spec.source.uri or spec.source.given,
        "kind": spec.source.kind,
        "state": stats["state"],
        "workers": workers if isinstance(workers, int) else workers_text(workers),
        # of a range, what there are now; an old version may still have some for queries that began with it
        "running": sum(worker["answers"] and worker["version"] == version for worker in stats["workers"]),
        "rows": stats["rows"],
        "problem": problem_of(stats),
        "signature": str(spec.signature),
        "inputs": None if inputs is None else [_input(column) for column in inputs],
        "result_type": to_ddl(spec.result_type),
        "example": None if spec.example is None else json.loads(spec.example),
        "comment": spec.comment,
        "options": _options(spec),
        "canary": _canary(pool.handle().pool.directory, version),
    }


def problem_of(stats: Mapping[str, Any]) -> str | None:
    """Why workers are missing, and since when: nothing if none starts in vain."""
    error, since = stats.get("restart_error"), stats.get("restart_since")
    if not error or since is None:
        return None
    return f"since {iso(since)}, {stats['restart_attempts']} times: {error}"


def without_values(message: str) -> str:
    """An error without what a model said, which may be what it was given: `logs` tells that, to admins."""
    return ": ".join(message.split(": ", 2)[:2])


def iso(seconds: float) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _options(spec: ModelSpec) -> Json:
    options = settings_of(spec).non_default()
    return {key: sorted(value) if key in _HIDDEN else value for key, value in options.items()}


def _canary(directory: Directory, version: int) -> Json | None:
    beside = (one for one in directory.served if one.version != version and one.weight > 0)
    return next(({"version": one.version, "traffic": one.weight} for one in beside), None)


def _input(column: Column) -> Json:
    type_ = column.row_type
    return {
        "name": column.name,
        "type": None if type_ is None else to_ddl(type_),
        "required": column.required,
    }
