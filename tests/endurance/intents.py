# SPDX-License-Identifier: Apache-2.0
"""Two clients change options, size and source of one pool at once; the end is what the log of their intents says."""

from __future__ import annotations

import pathlib
import random
import threading
from typing import Any

from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.control.changes import configure
from sparkmodel.pool.intents import Applied
from tests.endurance.oracle import made


def intents(spark: SparkSession, home: pathlib.Path, times: int) -> list[str]:
    """Returns what must not be."""
    sm.register(spark, "contested", made(home, 0), num_cpus=0.05)
    log: list[tuple[Any, str, Any]] = []
    errors: list[str] = []
    lock = threading.Lock()

    def client(seed: int) -> None:
        rng, model = random.Random(seed), sm.get("contested", spark)
        applied: list[Applied] = []
        ask = model._pool.change

        def change(*arguments: Any, **named: Any) -> Applied:
            applied.append(ask(*arguments, **named))
            return applied[-1]

        model._pool.change = change  # type: ignore[method-assign]
        for number in range(times // 2):
            kind = rng.choice(["timeout_s", "max_queued", "workers", "workers", "source"])
            try:
                if kind == "source":
                    value: Any = made(home, seed * 1000 + number)
                    model.update(value, progress=False)
                elif kind == "workers":
                    value = rng.randint(1, 3)
                    model.scale(value)
                else:
                    value = rng.randint(10, 90)
                    configure(model._pool, {kind: value})
                revision = applied[-1].revision
            except sm.SparkModelError as error:
                errors.append(f"{kind}: {error.message}")
                continue
            with lock:
                log.append((revision, kind, value))

    clients = [threading.Thread(target=client, args=(seed,)) for seed in (1, 2)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(1800)
    model = sm.get("contested")
    told = model.describe()
    wanted = {kind: value for _, kind, value in sorted(log, key=lambda entry: entry[0])}
    found = {key: told["options"][key] for key in ("timeout_s", "max_queued", "workers")} | {"source": told["source"]}
    faults = [
        f"{key} is {found[key]!r}, the log of {len(log)} intents says {value!r}"
        for key, value in wanted.items()
        if found[key] != value
    ]
    print(f"{len(log)} intents of two clients, {len(errors)} refused; the end: {found}", flush=True)
    model.drop()
    return faults + errors[:3]
