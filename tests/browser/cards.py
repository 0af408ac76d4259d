# SPDX-License-Identifier: Apache-2.0
"""Models as the admin routes tell of them: a canary, a degraded one, one that loads, one that is cold."""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]

EXAMPLE = '{"dataframe_split": {"columns": ["alcohol", "ash"], "data": [[13.2, 2.4], [12.1, 1.9]]}}'


def card(name: str, **rest: Any) -> Json:
    """A model's card."""
    return {
        "name": name,
        "version": 1,
        "source": f"models:/{name}/1",
        "kind": "mlflow",
        "state": "ready",
        "workers": 2,
        "running": 2,
        "rows": 0,
        "problem": None,
        "signature": "(alcohol double, ash double)",
        "inputs": [
            {"name": "alcohol", "type": "DOUBLE", "required": True},
            {"name": "ash", "type": "DOUBLE", "required": True},
        ],
        "result_type": "DOUBLE",
        "example": EXAMPLE,
        "comment": None,
        "options": {},
        "canary": None,
        **rest,
    }


def worker(pid: int, **rest: Any) -> Json:
    """A worker now."""
    return {
        "pid": pid,
        "version": 1,
        "node": "10.0.4.17",
        "rows": 481_022,
        "batches": 9_120,
        "errors": 0,
        "queued": 0,
        "predict_s": 41.7,
        "load_s": 1.82,
        "answers": True,
        "memory_bytes": 187 << 20,
        **rest,
    }


def version(number: int, state: str, **rest: Any) -> Json:
    """A version in the history."""
    return {
        "version": number,
        "state": state,
        "source": f"models:/wine/{number}",
        "resolved": f"models:/wine/{number}",
        "by": "ada",
        "intent": "register" if number == 1 else "update",
        "since": f"2026-11-{20 + number}T09:12:04.000+00:00",
        "until": None,
        "note": "",
        "weight": 0.0,
        "workers": 0,
        "rows": 0,
        "batches": 0,
        "errors": 0,
        "error_rate": None,
        "latency": {"p50_s": 0.0021, "p95_s": 0.0046},
        "digest": "3f1c",
        **rest,
    }


SPARES = {
    "10.0.4.17": {"ready": 1, "wanted": 1, "taken": 6, "pids": [7001], "memory_bytes": 31 << 20},
    "10.0.4.18": {"ready": 1, "wanted": 1, "taken": 4, "pids": [7002], "memory_bytes": 29 << 20},
}
_NONE = {"latency": {"p50_s": None, "p95_s": None, "p99_s": None}, "last_error": None, "workers_now": [], "restarts": 0}


def _wine() -> Json:
    history = [
        version(1, "old", rows=120_400, batches=2_410, errors=2, error_rate=0.0008, until="2026-11-22T09:12:04+00:00"),
        version(2, "failed", note="MODEL_PROBE_FAILED: it could not score its own input example", by="grace"),
        version(3, "serving", rows=962_044, batches=18_240, workers=2, weight=0.9),
        version(4, "canary", rows=48_100, batches=912, workers=1, weight=0.1, by="grace"),
    ]
    return {
        **card(
            "wine", version=3, source="models:/wine/3", rows=1_130_544, comment="Class of a bottle, by its chemistry"
        ),
        "canary": {"version": 4, "traffic": 0.1},
        "options": {"batch_size": 64, "batch_wait_s": 0.002},
        "latency": {"p50_s": 0.0021, "p95_s": 0.0046, "p99_s": 0.0093},
        "last_error": None,
        "workers_now": [
            worker(21840, version=3),
            worker(21861, version=3, node="10.0.4.18", rows=481_022, queued=2),
            worker(22107, version=4, node="10.0.4.18", rows=48_100, batches=912, predict_s=4.1, load_s=2.04),
        ],
        "versions": history,
        "restarts": 1,
        "spares": SPARES,
    }


def _churn() -> Json:
    problem = (
        "since 2026-11-29T08:40:11.000+00:00, 7 times: [MODEL_LOAD_FAILED] Cannot load model 'churn': "
        "No module named 'lightgbm'. Hint: add it to the model's requirements."
    )
    return {
        **card(
            "churn", version=2, running=1, workers=3, rows=88_310, problem=problem, comment="Who may leave next month"
        ),
        "latency": {"p50_s": 0.011, "p95_s": 0.031, "p99_s": 0.094},
        "last_error": {
            "time": 1795941611.0,
            "at": "2026-11-29T08:40:11.000+00:00",
            "message": "[MODEL_LOAD_FAILED] Cannot load model 'churn': No module named 'lightgbm'.",
            "details": 'Traceback (most recent call last):\n  File "loader.py", line 12\nModuleNotFoundError: lightgbm',
        },
        "workers_now": [worker(30100, version=2, errors=41), worker(30144, version=2, answers=False, node="10.0.4.19")],
        "versions": [version(1, "old", source="models:/churn/1"), version(2, "serving", source="models:/churn/2")],
        "restarts": 7,
        "spares": SPARES,
    }


def models() -> dict[str, Json]:
    """All of them, by name; `fares` has no input example."""
    fares = card("fares", workers="1..4", running=1, rows=5_120, example=None, source="fares.pkl", kind="pickle")
    fares["inputs"] = [
        {"name": "distance km", "type": "DOUBLE", "required": True},
        {"name": "trips", "type": "BIGINT", "required": True},
        {"name": "night", "type": "BOOLEAN", "required": False},
    ]
    cold = card("embed", state="cold", workers="0..2", running=0, rows=310, comment="Sentences to vectors")
    loading = card("prices", state="loading", running=0)
    found = [_wine(), _churn(), *({**one, **_NONE, "versions": [], "spares": SPARES} for one in (fares, cold, loading))]
    found[2]["workers_now"] = [worker(41007, rows=5_120, batches=80, predict_s=0.9)]
    found[2]["versions"] = [version(1, "serving", source="fares.pkl", rows=5_120, workers=1)]
    return copy.deepcopy({one["name"]: one for one in sorted(found, key=lambda one: str(one["name"]))})


EVENTS: list[Json] = [
    {"time": 1795944604.0, "kind": "version", "text": "v4 is a canary with 10% of calls, by grace"},
    {"time": 1795940791.0, "kind": "death", "text": "Worker 21790 on 10.0.4.17 was killed: out of memory (9)"},
    {"time": "2026-11-23T09:12:04+00:00", "kind": "version", "text": "v3 serves, by ada"},
    {"time": "2026-11-22T09:12:04+00:00", "kind": "failed", "text": "v2 could not score its own input example"},
    {"time": "2026-11-21T09:12:04+00:00", "kind": "version", "text": "v1 serves, by ada"},
]
