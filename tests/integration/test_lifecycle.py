# SPDX-License-Identifier: Apache-2.0
"""Nothing is left: after drop, after the driver's end, after Ctrl-C, after kill -9."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator

import psutil
import pytest

import sparkmodel as sm
from sparkmodel.cluster.janitor import processes_of
from sparkmodel.errors import InvalidOptionError
from tests.integration.scripts import (
    PATIENCE_S,
    Script,
    assert_nothing_left,
    free_port,
    listens,
    other_scratch,
    scratch_directories,
    wait_until,
    with_suppress,
)
from tests.models import DoubleModel

PROGRAM = """
    import sys, time
    import sparkmodel as sm
    from pyspark.sql import SparkSession

    class Double:
        def predict(self, data):
            return data.iloc[:, 0] * 2.0

    class SlowToLoad(Double):
        def __setstate__(self, state):
            print("loading", file=open("said", "a"), flush=True)
            time.sleep(600)

        def __getstate__(self):
            return {{"slow": True}}

    if __name__ == "__main__":
        {body}
"""
SPARK = """
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        spark = sm.configure_spark(builder).getOrCreate()
        spark.sparkContext.setLogLevel("OFF")
""".strip()
REGISTER = 'model = sm.register(spark, "f", Double(), result_type="double", workers=2, num_cpus=0.1)'
QUERY = 'assert spark.range(10).selectExpr("sum(f(id)) AS s").first().s == 90'


def program(*lines: str) -> str:
    return PROGRAM.format(body="\n        ".join(lines))


def test_drop_leaves_no_actor_process_or_socket(register: Callable[..., sm.Model]) -> None:
    model = register("dropped", DoubleModel(), result_type="double", workers=2)
    assert model.predict([{"x": 1.0}]) == [2.0]
    pids = [worker["pid"] for worker in model.stats()["workers"]]
    ports = [int(endpoint.rsplit(":", 1)[1]) for endpoint in model.describe()["endpoints"]]
    directories = scratch_directories()
    model.drop()
    assert "dropped" not in sm.models()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    own = [c for c in psutil.Process().net_connections() if c.raddr and c.raddr.port in ports]
    assert own == []
    wait_until(lambda: scratch_directories() <= directories | other_scratch())
    model.drop()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["exit", "error"])
def test_driver_end_leaves_nothing(tmp_path: pathlib.Path, ending: str) -> None:
    before = scratch_directories()
    last = 'print("done")' if ending == "exit" else 'sys.exit("as planned")'
    script = Script(program(SPARK, REGISTER, QUERY, last), tmp_path)
    if ending == "exit":
        assert "done" in script.finish()
    else:
        assert script.process.wait(PATIENCE_S) == 1
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_interrupt_while_loading_leaves_nothing(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    script = Script(
        program(
            SPARK,
            "sm.init(num_cpus=2)",
            'print("registering", flush=True)',
            "try:",
            '    sm.register(spark, "f", SlowToLoad(), result_type="double", num_cpus=0.1)',
            "except KeyboardInterrupt:",
            '    print("interrupted", sm.models(), flush=True)',
        ),
        tmp_path,
    )
    script.read_until("registering")
    wait_until((tmp_path / "said").exists, 60)
    os.kill(script.process.pid, signal.SIGINT)
    assert "interrupted []" in script.finish()
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_killed_driver_leaves_nothing(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    script = Script(program(SPARK, REGISTER, QUERY, 'print("up", flush=True)', "time.sleep(600)"), tmp_path)
    script.read_until("up")
    assert any(is_spare(process) for process in script.descendants())
    os.kill(script.process.pid, signal.SIGKILL)
    script.process.wait()
    assert_nothing_left(script, before)


def is_spare(process: psutil.Process) -> bool:
    return bool(process.cmdline()) and process.cmdline()[0].startswith("sparkmodel spare")


@pytest.fixture
def ray_cluster() -> Iterator[str]:
    """A Ray head of its own on loopback."""
    yield from ray_head()


def ray_head(port: int | None = None) -> Generator[str, None, None]:
    """A Ray head as an operator would start it, until the generator is closed."""
    port = port or free_port()
    home = pathlib.Path("/tmp") / f"rc-{os.getpid()}"
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    head = subprocess.Popen(  # token mode is Ray's default, so this is a cluster that wants one
        [
            str(pathlib.Path(sys.executable).parent / "ray"),
            *("start", "--head", "--block", "--num-cpus=4", "--node-ip-address=127.0.0.1", f"--port={port}"),
            *("--include-dashboard=false", f"--temp-dir={home}", "--disable-usage-stats"),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: listens(port) or head.poll() is not None)
        assert head.poll() is None, head.stdout.read() if head.stdout else ""
        yield f"127.0.0.1:{port}"
    finally:
        children = psutil.Process(head.pid).children(recursive=True) if head.poll() is None else []
        for process in [*children, *([psutil.Process(head.pid)] if head.poll() is None else [])]:
            with_suppress(process.kill)
        head.wait(PATIENCE_S)
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_of_pools_on_a_cluster_a_detached_one_outlives_its_driver_and_is_attached_to(
    tmp_path: pathlib.Path, ray_cluster: str
) -> None:
    detached = REGISTER.replace("num_cpus=0.1", "num_cpus=0.1, detached=True")
    bound = 'sm.register(spark, "g", Double(), result_type="double", num_cpus=0.1)'
    connect = f'sm.init(address="{ray_cluster}")'
    Script(program(connect, SPARK, detached, QUERY, bound, QUERY.replace("f(", "g(")), tmp_path).finish()
    attach = program(
        connect,
        "assert sm.models() == ['f'], sm.models()",
        SPARK,
        'model = sm.get("f", spark)',
        QUERY,
        "assert model.stats()['loads'] == 2, model.stats()",
        "assert model.predict([{'x': 3.0}]) == [6.0]",
        'sm.unregister(spark, "f")',
        "assert sm.models() == []",
    )
    Script(attach, tmp_path).finish()
    gone = program(connect, "try:", '    sm.get("f")', "except sm.SparkModelError as e:", "    print(e.condition)")
    assert "MODEL_NOT_FOUND" in Script(gone, tmp_path).finish()


@pytest.mark.slow
def test_driver_killed_on_a_cluster_leaves_nothing_there(tmp_path: pathlib.Path, ray_cluster: str) -> None:
    before = scratch_directories()
    body = (f'sm.init(address="{ray_cluster}")', SPARK, REGISTER, QUERY, 'print("up", flush=True)', "time.sleep(120)")
    script = Script(program(*body), tmp_path)
    script.read_until("up")
    made = [pathlib.Path(directory) for directory in scratch_directories() - before]
    assert len([pid for directory in made for pid in processes_of(directory)]) >= 5  # workers, spares, a janitor
    os.kill(script.process.pid, signal.SIGKILL)
    script.process.wait()
    wait_until(lambda: not any(processes_of(directory) for directory in made), 60)
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_without_spares_each_worker_is_an_actor(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    without = SPARK.replace(".master(", '.config("spark.sparkmodel.spares", "0").master(')
    script = Script(program(without, REGISTER, QUERY, "print(model.describe()['spares'])"), tmp_path)
    assert script.finish().splitlines()[-1] == "{}"
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_after_its_supervisor_was_killed_a_model_goes_on(tmp_path: pathlib.Path) -> None:
    whole = REGISTER.replace("num_cpus=0.1", "num_cpus=1")
    killed = (
        "import os, signal, psutil",
        "sm.init(num_cpus=2)",
        SPARK,
        whole,
        "family = psutil.Process().children(recursive=True)",
        "(pid,) = [p.pid for p in family if 'Supervisor' in p.name()]",
        "pids = lambda: sorted(worker['pid'] for worker in model.stats()['workers'])",
        "before = pids()",
        "os.kill(pid, signal.SIGKILL)",
        QUERY,
        "assert pids() == before",
        "model.drop()",
        "print(sm.models(), flush=True)",
        whole,  # all CPUs: what was reserved is free again
        QUERY,
    )
    out = Script(program(*killed), tmp_path).finish()
    assert "[]" in out.splitlines()


def test_detached_needs_a_cluster_that_outlives_the_driver(register: Callable[..., sm.Model]) -> None:
    with pytest.raises(InvalidOptionError, match=r"Cannot use option 'detached'.*sm.init\(address="):
        register("never", DoubleModel(), result_type="double", detached=True)
