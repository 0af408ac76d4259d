# SPDX-License-Identifier: Apache-2.0
"""Pools without Spark whose supervisor was killed and whose driver ends, in whatever way: nothing stays.

That nothing stays of pools with their first supervisor is shown where a driver loses its Ray (`test_ray_head_lost`): a
process that holds Ray is killed there, and another ends.
"""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.integration.scripts import PATIENCE_S, Script, assert_nothing_left, scratch_directories

PROGRAM = """
    import sys, time
    from sparkmodel.cluster import connection
    from tests.integration.supervised import Callers, deploy, kill, supervisor, workers
    from tests.models import FactorModel

    if __name__ == "__main__":
        connection.connect(num_cpus=4, log_to_driver=False)
        pool = deploy(FactorModel(2.0), env_manager="local")
        other = deploy(FactorModel(3.0), name="actors", workers=1, extra_env={{"A": "1"}})
        with Callers(pool, 2.0) as callers, Callers(other, 3.0) as others:
            if {dies}:
                kill(supervisor(pool))
                assert workers(pool)
            callers.more()
            others.more()
        assert (callers.errors, others.errors) == ([], []), (callers.errors, others.errors)
        print("up", flush=True)
        {ending}
"""


def ends(cwd: pathlib.Path) -> None:
    before = scratch_directories()
    script = Script(PROGRAM.format(dies=True, ending="pass"), cwd)
    assert "up" in script.finish()
    assert_nothing_left(script, before)


def is_killed(cwd: pathlib.Path) -> None:
    before = scratch_directories()
    script = Script(PROGRAM.format(dies=True, ending="time.sleep(600)"), cwd)
    script.read_until("up")
    os.kill(script.process.pid, signal.SIGKILL)
    script.process.wait(PATIENCE_S)
    assert_nothing_left(script, before)


def is_killed_just_after_its_supervisor(cwd: pathlib.Path) -> None:
    before = scratch_directories()
    ending = "import os; os.kill(supervisor(pool), 9); os.kill(os.getpid(), 9)"
    script = Script(PROGRAM.format(dies=False, ending=ending), cwd)
    script.read_until("up")
    script.process.wait(PATIENCE_S)
    assert_nothing_left(script, before)


Endings = Mapping[Callable[[pathlib.Path], None], Future[None]]


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endings]:
    """All at the same time: each waits for longer than it works."""
    with ThreadPoolExecutor() as threads:
        yield {
            ending: threads.submit(ending, tmp_path_factory.mktemp("driver"))
            for ending in (ends, is_killed, is_killed_just_after_its_supervisor)
        }


@pytest.mark.slow
def test_a_driver_that_ends_leaves_nothing(endings: Endings) -> None:
    endings[ends].result()


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_driver_that_is_killed_leaves_nothing(endings: Endings) -> None:
    endings[is_killed].result()


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_driver_that_is_killed_just_after_its_supervisor_leaves_nothing(endings: Endings) -> None:
    """Its workers wait for a supervisor that will never come."""
    endings[is_killed_just_after_its_supervisor].result()
