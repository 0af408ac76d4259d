# SPDX-License-Identifier: Apache-2.0
"""Faults of all kinds, one after the other and over each other, under batch, stream and direct callers at once."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.errors import SparkModelError
from tests.endurance.deaths import supervisors
from tests.endurance.load import BRIDGE, Load, Stream, local, query, tables
from tests.endurance.oracle import STEP
from tests.endurance.roads import Roads
from tests.endurance.schedule import Event, events
from tests.endurance.watch import Watch, executors

WORKERS = 3
DEADLINE_S = 60.0  # of a direct call
LATE_S = 2.0  # a call may be told so much later that its time is over
HEAL_S = 120.0
DIRECT = "direct"
CONDITION = re.compile(r"\[([A-Z]+(?:_[A-Z]+)*)\]")


class Oracle:
    """Its answer tells the row and the number of the model."""

    def __init__(self, number: int) -> None:
        self.number = number

    def predict(self, frame: pd.DataFrame) -> Any:
        return (self.number * STEP + 1000 * frame["a"] + frame["b"]).astype("int64")


class Chaos:
    """One run. Every kind of fault is a method of its name."""

    def __init__(self, model: sm.Model, watch: Watch, roads: Roads, load: Load) -> None:
        self.caused: collections.Counter[str] = collections.Counter()
        self.found: list[str] = []
        self._model, self._watch, self._roads, self._load = model, watch, roads, load
        self._number = 0
        self._later: list[threading.Timer] = []
        self._swapping: threading.Thread | None = None

    def cause(self, event: Event) -> None:
        """Have it happen; one that finds nobody to hit is none."""
        act: Callable[[Event], str] = getattr(self, f"_{event.kind}")
        try:
            told = act(event)
        except (IndexError, ProcessLookupError):
            told = ""
        self.caused[event.kind if told else f"{event.kind} (nobody there)"] += 1
        print(f"  {event.at_s:6.1f} s: {event.kind} {told or 'hits nobody'}", flush=True)

    def settle(self) -> None:
        """All that has an end is over."""
        for timer in self._later:
            timer.join()
        if self._swapping is not None:
            self._swapping.join(HEAL_S)

    def _worker(self, event: Event) -> str:
        pid = event.of(self._watch.workers())
        os.kill(pid, signal.SIGKILL)
        return f"{pid} killed"

    def _supervisor(self, event: Event) -> str:
        pid = event.of(sorted(process.pid for process in supervisors()))
        os.kill(pid, signal.SIGKILL)
        return f"{pid} killed"

    def _executor(self, event: Event) -> str:
        pid = event.of(executors())
        os.kill(pid, signal.SIGKILL)
        return f"{pid} killed"

    def _stop(self, event: Event) -> str:
        pid = event.of(self._watch.workers())
        os.kill(pid, signal.SIGSTOP)
        self._after(event.last_s, lambda: os.kill(pid, signal.SIGCONT))
        return f"worker {pid} for {event.last_s:g} s"

    def _hole(self, event: Event) -> str:
        served = {port for _, port in self._model.handle.pool.directory.endpoints}
        port = event.of([port for port in self._roads.ports() if port in served])
        self._roads.turn(port, is_dark=True)
        self._after(event.last_s, lambda: self._roads.turn(port, is_dark=False))
        return f"before port {port} for {event.last_s:g} s"

    def _swap(self, event: Event) -> str:
        if self._swapping is not None and self._swapping.is_alive():
            return ""
        self._number += 1
        self._swapping = threading.Thread(target=self._update, args=(self._number,), daemon=True)
        self._swapping.start()
        return f"to number {self._number}"

    def _update(self, number: int) -> None:
        try:
            self._model.update(Oracle(number), progress=False)
        except SparkModelError as error:  # a new worker was killed as it loaded: then nothing has changed
            if error.condition not in ("POOL_NOT_READY", "MODEL_LOAD_FAILED"):
                self.found.append(f"swap {number}: {error.message}")
        except Exception as error:
            self.found.append(f"swap {number}: {error!r}")

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        def run() -> None:
            with contextlib.suppress(ProcessLookupError):
                act()

        timer = threading.Timer(seconds, run)
        timer.daemon = True
        timer.start()
        self._later.append(timer)


def chaos(spark: SparkSession, home: pathlib.Path, seconds: int, seed: int = 0) -> list[str]:
    """Returns what must not be: a wrong row, two versions in a query, an error, a late call, something left behind."""
    kinds = ["worker", "stop", "hole", "supervisor", "swap"] + ["executor"] * bool(executors())
    plan = events(seed, seconds, kinds)
    print(f"chaos: seed {seed}, {seconds} s, {len(plan)} faults of {', '.join(kinds)}", flush=True)
    model = sm.register(
        spark, "chaos", Oracle(0), result_type="bigint", workers=WORKERS, num_cpus=0.1, timeout_s=DEADLINE_S
    )
    watch, load = Watch(model), Load()
    with Roads(f"load-{DIRECT}").taken() as roads:
        streams = _begin(spark, home, model, load)
        run = Chaos(model, watch, roads, load)
        load.wait_for(1)
        print(f"all callers are answered: {load.told()}", flush=True)
        try:
            _follow(plan, seconds, run, load)
        except KeyboardInterrupt:
            print("interrupted: what has been until now is looked at", flush=True)
        run.settle()
        found = run.found + _healed(watch, load)
        for stream in streams:
            stream.stop()
        found += load.stop()
    watch.close()
    found += _late(load)
    model.drop()
    found += [f"worker {pid} lives although its pool was dropped" for pid in watch.left()]
    print(f"caused: {_told(run.caused)}", flush=True)
    print(f"seen: {load.told()}; errors by condition: {_told(_conditions(load)) or 'none'}", flush=True)
    return [f"seed {seed}: {fault}" for fault in found]


def _begin(spark: SparkSession, home: pathlib.Path, model: sm.Model, load: Load) -> list[Stream]:
    home.mkdir(parents=True, exist_ok=True)
    plain = spark.newSession()
    plain.conf.set(BRIDGE, "false")
    path = tables(spark, home)
    load.start("bridge", query(model.transform(spark.read.parquet(path), "p")), 0.5)
    load.start("python", query(sm.get("chaos", plain).transform(plain.read.parquet(path), "p")), 0.5)
    for _ in range(3):
        load.start(DIRECT, local(model, 1000), 0.05)
    return [Stream(spark, model, home, load, "stream")]


def _follow(plan: list[Event], seconds: float, run: Chaos, load: Load) -> None:
    """Cause each fault in its time, with a line a minute."""
    began, minute = time.monotonic(), 1
    todo = collections.deque(plan)
    while (now := time.monotonic() - began) < seconds:
        if todo and todo[0].at_s <= now:
            run.cause(todo.popleft())
        if now >= 60 * minute:
            rows = sum(seen.rows for seen in load.seen.values())
            wrong = sum(seen.wrong + seen.mixed for seen in load.seen.values())
            print(
                f"{minute} min: {sum(run.caused.values())} faults, {rows} rows, {wrong} wrong, "
                f"errors: {_told(_conditions(load)) or 'none'}; {load.told()}",
                flush=True,
            )
            minute += 1
        time.sleep(min(0.1, max(0.0, seconds - now)))


def _healed(watch: Watch, load: Load) -> list[str]:
    """All callers are answered again, and the pool is whole."""
    found = []
    deadline = time.monotonic() + HEAL_S
    while not watch.is_whole(WORKERS):
        if time.monotonic() > deadline:
            found.append(f"the pool has {len(watch.workers())} of {WORKERS} workers {HEAL_S:g} s after the last fault")
            break
        time.sleep(0.5)
    try:
        load.wait_for(1, HEAL_S)
    except AssertionError as error:
        found.append(str(error))
    return found


def _late(load: Load) -> list[str]:
    longest_s = load.seen[DIRECT].longest_s
    return [f"a direct call took {longest_s:.1f} s of {DEADLINE_S:g}"] if longest_s > DEADLINE_S + LATE_S else []


def _conditions(load: Load) -> collections.Counter[str]:
    """How often each was raised; what is no error of ours by its text."""
    found: collections.Counter[str] = collections.Counter()
    for error in (error for seen in load.seen.values() for error in seen.errors):
        named = CONDITION.search(error)
        found[named[1] if named else f"not ours: {error[:80]!r}"] += 1
    return found


def _told(counts: collections.Counter[str]) -> str:
    def pairs(items: Iterable[tuple[str, int]]) -> str:
        return ", ".join(f"{count} {name}" for name, count in items)

    return pairs(sorted(counts.items()))
