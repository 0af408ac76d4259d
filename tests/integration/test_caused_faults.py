# SPDX-License-Identifier: Apache-2.0
"""Workers that hang, stand still, are killed for their memory or lose their node, in a real pool under callers."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import psutil
import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel import errors
from tests.integration.scripts import PATIENCE_S, Script, assert_nothing_left, end, scratch_directories, wait_until
from tests.integration.test_lifecycle import ray_head

Register = Callable[..., sm.Model]
FACTOR = 1000.0  # what each answer is a multiple of says that it is its own row's
DEADLINE_S = 60.0


class Direct:
    """Callers without a pause; each call has a deadline, and each answer is looked at."""

    def __init__(self, model: sm.Model, count: int = 3) -> None:
        self.errors: list[BaseException] = []
        self.calls, self.longest_s = [0] * count, [0.0] * count
        self._model, self._done = model, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(count)]

    def more(self, calls: int = 5) -> None:
        """Wait until each has got so many more answers, or one has failed."""
        before = list(self.calls)
        wait_until(
            lambda: bool(self.errors) or all(now >= then + calls for now, then in zip(self.calls, before, strict=True))
        )

    def _run(self, number: int) -> None:
        frame = pd.DataFrame({"x": [number * 10.0 + i for i in range(10)]})
        wanted = [value * FACTOR for value in frame["x"]]
        try:
            while not self._done.is_set():
                began = time.monotonic()
                assert list(self._model.predict(frame, timeout_s=DEADLINE_S)) == wanted
                self.longest_s[number] = max(self.longest_s[number], time.monotonic() - began)
                self.calls[number] += 1
                self._done.wait(0.01)
        except BaseException as error:
            self.errors.append(error)

    @contextlib.contextmanager
    def running(self) -> Iterator[Direct]:
        """They call meanwhile; none may fail."""
        for thread in self._threads:
            thread.start()
        try:
            self.more()
            yield self
        finally:
            self._done.set()
            for thread in self._threads:
                thread.join(PATIENCE_S)
        assert self.errors == []


def pids(model: sm.Model) -> list[int]:
    """The processes of its workers."""
    return sorted(worker["pid"] for worker in model.stats()["workers"] if worker["answers"])


def is_whole(model: sm.Model, *without: int, workers: int = 2) -> bool:
    """Whether all workers serve, none of them one of these."""
    now = pids(model)
    return len(now) == workers and not set(now) & set(without) and model.stats()["state"] == "ready"


@pytest.mark.slow
@pytest.mark.fault("F5")
def test_a_model_that_keeps_pythons_lock_hangs_alone_and_its_worker_is_replaced(register: Register) -> None:
    """A regular expression that takes ages: no thread of its process runs meanwhile."""

    def scan(frame: pd.DataFrame) -> Any:
        if (frame.iloc[:, 0] < 0).any():
            re.match(r"(a+)+$", "a" * 60 + "b")
        return frame.iloc[:, 0] * FACTOR

    model = register("scanned", scan, result_type="double", workers=2, timeout_s=2.0, num_cpus=0.1)
    before = pids(model)
    with Direct(model).running() as callers:
        with pytest.raises(errors.PredictTimeoutError):
            model.predict([{"x": -1.0}], timeout_s=DEADLINE_S)
        callers.more()
        wait_until(lambda: is_whole(model) and pids(model) != before, DEADLINE_S)
    assert len(set(before) & set(pids(model))) == 1, "a worker that did nothing was replaced"


@pytest.mark.slow
@pytest.mark.fault("F15")
def test_a_worker_that_stands_still_costs_no_call_and_its_pool_is_whole_again(register: Register) -> None:
    model = register("still", lambda frame: frame.iloc[:, 0] * FACTOR, result_type="double", workers=2, num_cpus=0.1)
    stopped = pids(model)[0]
    with Direct(model).running() as callers:
        os.kill(stopped, signal.SIGSTOP)
        try:
            callers.more(20)
            assert max(callers.longest_s) < DEADLINE_S / 2
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGCONT)
        wait_until(lambda: is_whole(model))


@pytest.mark.slow
@pytest.mark.fault("F8", "F1")
@pytest.mark.parametrize("path", ["bridge", "python"])
def test_rows_for_whose_memory_the_system_kills_are_null_alone(
    register: Register, spark: SparkSession, path: str
) -> None:
    """What the kernel does to a process that takes too much; no model can catch it."""

    def greedy(frame: pd.DataFrame) -> Any:
        if (frame.iloc[:, 0] == 7).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return frame.iloc[:, 0] * FACTOR

    register("greedy", greedy, result_type="double", workers=2, num_cpus=0.1, on_error="null", max_retries=1)
    spark.conf.set("spark.sparkmodel.bridge.enabled", str(path == "bridge").lower())
    try:
        rows = spark.range(0, 32, 1, 2).selectExpr("id", "greedy(CAST(id AS DOUBLE)) AS p").collect()
    finally:
        spark.conf.unset("spark.sparkmodel.bridge.enabled")
    assert sorted((row.id, row.p) for row in rows) == [(i, None if i == 7 else i * FACTOR) for i in range(32)]


class KilledWhileLoading:
    """Its process is killed as it unpickles, as by the kernel when memory runs out."""

    def predict(self, frame: Any) -> Any:
        return frame.iloc[:, 0]

    def __reduce__(self) -> Any:
        return _killed, (os.getpid(),)


def _killed(maker: int) -> None:
    if os.getpid() != maker:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.fault("F7")
def test_a_worker_that_is_killed_while_it_loads_is_an_error_in_time_and_the_version_of_before_serves(
    register: Register, spark: SparkSession
) -> None:
    model = register("heavy", lambda frame: frame.iloc[:, 0] * FACTOR, result_type="double", num_cpus=0.1)
    began = time.monotonic()
    with pytest.raises(errors.SparkModelError) as caught:
        model.update(KilledWhileLoading(), progress=False)
    assert caught.value.condition in ("MODEL_LOAD_FAILED", "POOL_NOT_READY")
    with pytest.raises(errors.SparkModelError) as caught:
        sm.register(spark, "heavier", KilledWhileLoading(), result_type="double", num_cpus=0.1, progress=False)
    assert caught.value.condition in ("MODEL_LOAD_FAILED", "POOL_NOT_READY")
    assert time.monotonic() - began < PATIENCE_S / 2
    assert "heavier" not in sm.models()
    assert list(model.predict(pd.DataFrame({"x": [1.0, 2.0]}))) == [FACTOR, 2 * FACTOR]
    assert model.stats()["restarts"] == 0


NODE_KILLED = """
    import time
    import psutil
    import ray
    from sparkmodel.cluster import connection
    from tests.integration.scripts import with_suppress
    from tests.integration.supervised import Callers, deploy, workers
    from tests.models import FactorModel

    def node_of(pid):
        return next(p.pid for p in psutil.Process(pid).parents() if p.name() == "raylet")

    if __name__ == "__main__":
        connection.connect(address="ADDRESS", log_to_driver=False)
        until = time.monotonic() + 60
        while sum(node["Alive"] for node in ray.nodes()) < 3:  # one that is not there yet cannot take a worker
            assert time.monotonic() < until, f"a node did not come up: {ray.nodes()}"
            time.sleep(0.2)
        pool = deploy(FactorModel(2.0), workers=2, num_cpus=3)  # of which a node has room for one
        nodes = {pid: node_of(pid) for pid in workers(pool)}
        assert len(set(nodes.values())) == 2, nodes
        lost = next(pid for pid, node in nodes.items() if node != HEAD)
        (kept,) = set(nodes) - {lost}
        with Callers(pool, 2.0, count=1) as callers:
            family = psutil.Process(nodes[lost]).children(recursive=True)
            for process in [psutil.Process(nodes[lost]), *family]:
                with_suppress(process.kill)
            began = time.monotonic()
            callers.more()
            print("goes on", kept in workers(pool), flush=True)
            while len(workers(pool)) < 2:
                assert time.monotonic() - began < 120, f"not whole again: {pool.stats()} {ray.nodes()}"
                time.sleep(0.2)
            print("whole", kept in workers(pool), flush=True)
            callers.more()
        assert (callers.errors, callers.wrong) == ([], []), (callers.errors, callers.wrong)
        pool.drop()
        connection.shutdown()
"""


def ray_node(address: str, ip: str) -> subprocess.Popen[bytes]:
    """Another node of a cluster, with an address of its own on this machine."""
    command = [str(pathlib.Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=3"]
    command += [f"--address={address}", f"--node-ip-address={ip}", "--disable-usage-stats"]
    environment = {**os.environ, "RAY_AUTH_MODE": "token"}  # a node does not think of it by itself
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.fault("F2")
def test_a_node_that_is_killed_costs_no_call_and_its_worker_is_replaced_on_another(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    head = ray_head()
    address = next(head)
    nodes: list[subprocess.Popen[bytes]] = []
    raylets = []
    try:
        for number in (2, 3):  # of two that start at the same time both take the same free names for their sockets
            nodes.append(ray_node(address, f"127.0.0.{number}"))
            raylets.append(wait_for_child(nodes[-1].pid, "raylet"))
            sockets = f"rc-{os.getpid()}/session_2*/sockets/raylet.{number - 1}"
            wait_until(functools.partial(is_there, sockets))
        code = NODE_KILLED.replace("ADDRESS", address).replace("node != HEAD", f"node in {raylets}")
        script = Script(code, tmp_path)
        printed = script.finish(200).splitlines()  # Ray prints the lost node's last words, its state and all, between
        said = [line for line in printed if line.startswith(("goes on", "whole"))]
        assert said == ["goes on True", "whole True"]
        assert_nothing_left(script, before)
    finally:
        end(nodes)
        head.close()


def is_there(pattern: str) -> bool:
    """Whether anything under /tmp matches."""
    return any(pathlib.Path("/tmp").glob(pattern))


def wait_for_child(pid: int, name: str) -> int:
    """A child process of this name, once it is there."""

    def found() -> list[int]:
        with contextlib.suppress(psutil.NoSuchProcess):  # one that has ended since it was found: look again
            return [child.pid for child in psutil.Process(pid).children(recursive=True) if child.name() == name]
        return []

    wait_until(lambda: bool(found()))
    return found()[0]
