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
from collections.abc import Callable, Generator

import psutil
import pytest

import sparkmodel as sm
from sparkmodel.cluster.janitor import processes_of
from sparkmodel.errors import InvalidOptionError
from tests.integration.scripts import (
    PATIENCE_S,
    Script,
    assert_nothing_left,
    command_line,
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


# Each way to end is one driver's, which does something else before: its JVM takes longer to start than all the rest.


@pytest.mark.slow
def test_driver_that_ends_leaves_nothing_with_spares_or_without_and_a_ray_of_its_own_goes_on(
    tmp_path: pathlib.Path,
) -> None:
    before = scratch_directories()
    own = (
        "import ray",
        'ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)',
        SPARK,
        REGISTER,
        QUERY,
        "actors = ray.util.list_named_actors(all_namespaces=True)",
        "assert any(actor['namespace'] == 'sparkmodel' for actor in actors), actors",
        "sm.shutdown()",
        "assert ray.is_initialized()",
        "print(ray.cluster_resources()['CPU'])",
        "ray.shutdown()",
    )
    without = (
        "spark.conf.set('spark.sparkmodel.spares', '0')",
        REGISTER,
        QUERY,
        "print(model.describe()['spares'])",  # each worker is an actor
    )
    script = Script(program(*own, *without), tmp_path)
    assert script.finish().splitlines() == ["3.0", "{}"]
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_interrupt_while_loading_and_a_killed_supervisor_and_an_error_at_the_end_leave_nothing(
    tmp_path: pathlib.Path,
) -> None:
    before = scratch_directories()
    interrupted = (
        SPARK,
        "sm.init(num_cpus=2)",
        'print("registering", flush=True)',
        "try:",
        '    sm.register(spark, "f", SlowToLoad(), result_type="double", num_cpus=0.1)',
        "except KeyboardInterrupt:",
        '    print("interrupted", sm.models(), flush=True)',
    )
    whole = REGISTER.replace("num_cpus=0.1", "num_cpus=1")
    killed = (
        "import os, signal, psutil",
        whole,
        "family = psutil.Process().children(recursive=True)",
        "(pid,) = [p.pid for p in family if 'Supervisor' in p.name()]",
        "pids = lambda: sorted(worker['pid'] for worker in model.stats()['workers'])",
        "before = pids()",
        "os.kill(pid, signal.SIGKILL)",
        QUERY,
        "assert pids() == before",
        "model.drop()",
        "print('dropped', sm.models(), flush=True)",
        whole,  # all CPUs: what was reserved is free again
        QUERY,
        'sys.exit("as planned")',
    )
    script = Script(program(*interrupted, *killed), tmp_path)
    script.read_until("registering")
    wait_until((tmp_path / "said").exists, 60)
    os.kill(script.process.pid, signal.SIGINT)
    out, err = script.process.communicate(timeout=PATIENCE_S)
    assert out.splitlines() == ["interrupted []", "dropped []"], err[-5000:]
    assert script.process.returncode == 1
    assert "as planned" in err
    assert_nothing_left(script, before)


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_killed_driver_leaves_nothing_though_a_process_that_it_forked_lives(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    missed = (  # Ray goes on to start, for the next
        "from sparkmodel.keeper import connection",
        "try:",
        "    sm.register(spark, 'f', '/no/such/model')",
        "except sm.SparkModelError as error:",
        "    assert error.condition == 'MODEL_NOT_FOUND', error",
        "assert not connection.is_connected(), 'Ray was waited for'",
    )
    forked = (
        "import os, signal",
        "assert connection.current().is_local",
        "assert sm.models() == ['f']",
        "told, tell = os.pipe()",
        "child = os.fork()",
        "if child == 0:",
        "    os.write(tell, b'1' if connection.is_connected() else b'0')",
        "    signal.pause()",
        "is_connected = os.read(told, 1)",  # looked at below, where the child is ended whatever it is
        "print('forked', flush=True)",
        "print(child, int(is_connected), flush=True)",
        "signal.pause()",
    )
    script = Script(program(SPARK, *missed, REGISTER, QUERY, *forked), tmp_path)
    script.read_until("forked")
    assert script.process.stdout is not None
    pid, is_connected = map(int, script.process.stdout.readline().split())
    child = psutil.Process(pid)
    try:
        assert is_connected == 0
        assert any(is_spare(process) for process in script.descendants())
        assert any("sparkmodel.keeper" in command_line(process) for process in script.descendants())
        # Spark's JVM waits for the end of a pipe, of which the child has a copy
        java = [process for process in script.descendants() if "".join(command_line(process)[:1]).endswith("java")]
        os.kill(script.process.pid, signal.SIGKILL)
        script.process.wait()
        wait_until(lambda: set(script.descendants()) <= {child, *java})
        assert child in script.descendants()
    finally:
        script.process.kill()
        child.kill()
    assert_nothing_left(script, before)


def is_spare(process: psutil.Process) -> bool:
    return "".join(command_line(process)[:1]).startswith("sparkmodel spare")


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
@pytest.mark.fault("F11")
def test_on_a_cluster_a_detached_pool_outlives_its_driver_and_a_killed_driver_leaves_nothing(
    tmp_path: pathlib.Path,
) -> None:
    head = ray_head()
    connect = f'sm.init(address="{next(head)}")'
    detached = REGISTER.replace("num_cpus=0.1", "num_cpus=0.1, detached=True")
    bound = 'sm.register(spark, "g", Double(), result_type="double", num_cpus=0.1)'
    attached = (
        connect,
        "assert sm.models() == ['f'], sm.models()",
        SPARK,
        'model = sm.get("f", spark)',
        QUERY,
        "assert model.stats()['loads'] == 2, model.stats()",
        "assert model.predict([{'x': 3.0}]) == [6.0]",
        'sm.unregister(spark, "f")',
        "assert sm.models() == []",
        "sm.shutdown()",
    )
    joins_again = (connect, "try:", '    sm.get("f")', "except sm.SparkModelError as e:", "    print(e.condition)")
    try:
        Script(program(connect, SPARK, detached, QUERY, bound, QUERY.replace("f(", "g(")), tmp_path).finish()
        before = scratch_directories()
        up = (REGISTER, QUERY, 'print("up", flush=True)', "time.sleep(120)")
        script = Script(program(*attached, *joins_again, *up), tmp_path)
        script.read_until("MODEL_NOT_FOUND")
        script.read_until("up")
        made = [pathlib.Path(directory) for directory in scratch_directories() - before]
        assert len([pid for directory in made for pid in processes_of(directory)]) >= 5  # workers, spares, a janitor
        os.kill(script.process.pid, signal.SIGKILL)
        script.process.wait()
        wait_until(lambda: not any(processes_of(directory) for directory in made), 60)
        assert_nothing_left(script, before)
    finally:
        head.close()


def test_detached_needs_a_cluster_that_outlives_the_driver(register: Callable[..., sm.Model]) -> None:
    with pytest.raises(InvalidOptionError, match=r"Cannot use option 'detached'.*sm.init\(address="):
        register("never", DoubleModel(), result_type="double", detached=True)
