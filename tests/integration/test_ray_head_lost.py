# SPDX-License-Identifier: Apache-2.0
"""The driver does not hold Ray: what is killed of Ray, or the process that holds it, does not take the driver along."""

from __future__ import annotations

import os
import pathlib
import signal

import psutil
import pytest

from tests.integration.scripts import Script, assert_nothing_left, scratch_directories, wait_until
from tests.integration.test_lifecycle import QUERY, REGISTER, SPARK, program, ray_head

LOCAL = (
    "import os, signal, threading, psutil",
    SPARK,
    REGISTER,
    QUERY,
    "def find(*names):",
    "    family = [p for p in psutil.Process().children(recursive=True) if p.status() != 'zombie']",
    "    return [p for p in family if any(name in ' '.join(p.cmdline()) for name in names)]",
    "(keeper,) = find('-m sparkmodel.keeper')",
    "def condition(call):",
    "    try:",
    "        return call()",
    "    except sm.SparkModelError as error:",
    "        return error.condition",
)
FREE = ("assert sm.models() == [], sm.models()", REGISTER, QUERY, "assert sm.models() == ['f']")


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["gcs", "all", "keeper"])
def test_when_its_local_ray_is_lost_the_driver_lives_and_registers_again(tmp_path: pathlib.Path, lost: str) -> None:
    before = scratch_directories()
    victims = {
        "gcs": "find('gcs_server')[:1]",
        "all": "find('gcs_server', 'raylet')",
        "keeper": "[keeper]",
    }
    goes_on = (
        "for _ in range(5):",  # the workers live as long as Ray lets them
        "    assert model.predict([{'x': 2.0}]) == [4.0]",
        "    " + QUERY,
    )
    script = Script(
        program(
            *LOCAL,
            "assert 'ray' not in sys.modules",
            "assert not any('grpc' in thread.name.lower() for thread in threading.enumerate())",
            f"victims = {victims[lost]}",
            "assert victims",
            "began = time.monotonic()",
            "for victim in victims: victim.kill()",
            *(goes_on if lost == "gcs" else ()),
            "while (said := condition(model.stats)) not in ('POOL_GONE', 'RAY_UNAVAILABLE'): time.sleep(0.2)",
            "print(said, time.monotonic() - began < 30, flush=True)",
            "while (said := condition(model.stats)) != 'POOL_GONE': time.sleep(0.2)",
            *FREE,
            "while keeper.is_running(): time.sleep(0.5)",
            # a process that holds Ray ends a minute after its head
            f"time.sleep(max(0, {120 if lost == 'gcs' else 0} - (time.monotonic() - began)))",
            QUERY,
            "print('alive', flush=True)",
        ),
        tmp_path,
    )
    lines = script.finish().splitlines()
    assert lines[-1] == "alive"
    assert lines[-2].endswith(" True")
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_after_the_head_of_a_cluster_came_back_a_model_is_registered_again(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    first = ray_head()
    address = next(first)
    script = Script(
        program(
            f'sm.init(address="{address}")',
            *LOCAL,
            'print("up", flush=True)',
            "while condition(sm.models) != 'RAY_UNAVAILABLE': time.sleep(0.2)",
            "print('lost', flush=True)",
            "while condition(sm.models) == 'RAY_UNAVAILABLE': time.sleep(0.2)",
            *FREE,
            "print('alive', flush=True)",
        ),
        tmp_path,
    )
    try:
        script.read_until("up")
        first.close()
        script.read_until("lost")
        second = ray_head(int(address.rpartition(":")[2]))
        assert next(second) == address
        try:
            assert script.finish().splitlines() == ["alive"]
        finally:
            second.close()
    finally:
        first.close()
        script.kill()
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_a_program_that_called_ray_init_has_its_pools_on_that_ray(tmp_path: pathlib.Path) -> None:
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
    )
    assert Script(program(*own), tmp_path).finish().splitlines()[-1] == "3.0"


@pytest.mark.slow
def test_a_process_that_was_forked_does_not_keep_the_keeper(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    script = Script(
        program(
            *LOCAL,
            "from sparkmodel.keeper import connection",
            "told, tell = os.pipe()",
            "child = os.fork()",
            "if child == 0:",
            "    os.write(tell, b'1' if connection.is_connected() else b'0')",
            "    signal.pause()",
            "assert os.read(told, 1) == b'0'",
            "print('forked', flush=True)",
            "print(keeper.pid, child, flush=True)",
            "signal.pause()",
        ),
        tmp_path,
    )
    script.read_until("forked")
    assert script.process.stdout is not None
    keeper, child = map(int, script.process.stdout.readline().split())
    try:
        os.kill(script.process.pid, signal.SIGKILL)
        script.process.wait()
        wait_until(lambda: not psutil.pid_exists(keeper))
        assert psutil.Process(child).status() != psutil.STATUS_ZOMBIE
    finally:
        os.kill(child, signal.SIGKILL)
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_a_stopped_keeper_is_given_up(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    script = Script(
        program(
            *LOCAL,
            "keeper.suspend()",
            "print(condition(model.stats), flush=True)",
            *FREE,
        ),
        tmp_path,
    )
    assert script.finish().splitlines() == ["RAY_UNAVAILABLE"]
    assert_nothing_left(script, before)


@pytest.mark.slow
def test_why_ray_cannot_be_reached_is_said_at_once(tmp_path: pathlib.Path) -> None:
    code = """
        import sparkmodel as sm
        for options in ({"address": "127.0.0.1:1"}, {"no_such_option": 1}):
            try:
                sm.init(**options)
            except sm.SparkModelError as error:
                print(error.message)
    """
    nobody, option = Script(code, tmp_path).finish().splitlines()
    assert nobody.startswith("[RAY_UNAVAILABLE] Cannot connect to Ray '127.0.0.1:1': nobody answers there")
    assert option.startswith("[RAY_UNAVAILABLE] Cannot start Ray 'local'")
    assert "no_such_option" in option
