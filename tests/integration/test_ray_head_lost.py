# SPDX-License-Identifier: Apache-2.0
"""The driver does not hold Ray: what is killed of Ray, or the process that holds it, does not take the driver along.

One driver loses a Ray in each way, one after the other: its JVM takes longer to start than a Ray. While it lives on
without the first one, the others have their turn.
"""

from __future__ import annotations

import pathlib
import textwrap

import pytest

from tests.integration.scripts import Script, assert_nothing_left, scratch_directories
from tests.integration.test_lifecycle import SPARK, program, ray_head

ALONE_S = 20  # a process that holds Ray ends that long after its head

LOSES = """
    import os, threading, psutil
    from sparkmodel.keeper import link
    from tests.integration.scripts import command_line, with_suppress

    def register(name, **options):
        return sm.register(spark, name, Double(), result_type="double", workers=2, num_cpus=0.1, **options)

    def query(name):
        assert spark.range(10).selectExpr(f"sum({name}(id)) AS s").first().s == 90

    def below(process, *names):
        family = process.children(recursive=True)
        return [p for p in family if any(name in " ".join(command_line(p)) for name in names)]

    keepers = []
    def keeper_of_now():
        (new,) = [p for p in below(psutil.Process(), "-m sparkmodel.keeper") if p not in keepers]
        keepers.append(new)
        return new

    def condition(call):
        try:
            return call()
        except sm.SparkModelError as error:
            return error.condition

    def all_is_free(*others):
        assert sm.models() == [], sm.models()
        made = register("f")
        query("f")
        for name in others:  # a process of its own for each worker, which is no fork
            register(name, extra_env={"A": "1"})
            query(name)
        assert sorted(sm.models()) == ["f", *others]
        return made

    def goes_on(model):
        for _ in range(5):  # the workers live as long as Ray lets them
            assert model.predict([{"x": 2.0}]) == [4.0]
            query("f")

    def lose(model, case, victims):
        assert victims
        began = time.monotonic()
        for victim in victims:
            with_suppress(victim.kill)
        if case == "gcs":
            goes_on(model)
        while (said := condition(model.stats)) not in ("POOL_GONE", "RAY_UNAVAILABLE"):
            time.sleep(0.2)
        print(case, time.monotonic() - began < 30, flush=True)
        while condition(model.stats) != "POOL_GONE":
            time.sleep(0.2)
        return began

    # the head of a cluster, which comes back
    sm.init(address="ADDRESS")
    register("f")
    query("f")
    keeper_of_now()
    print("up", flush=True)
    while condition(sm.models) != "RAY_UNAVAILABLE":
        time.sleep(0.2)
    print("lost", flush=True)
    while condition(sm.models) == "RAY_UNAVAILABLE":
        time.sleep(0.2)
    all_is_free()
    print("back", flush=True)
    sm.shutdown()

    # a local Ray: its head alone, all of it, and the process that holds it, which is killed or stands still
    os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = str(ALONE_S)  # of Ray's processes, which is a minute
    model = all_is_free()
    keeper = keeper_of_now()
    assert "ray" not in sys.modules
    assert not any("grpc" in thread.name.lower() for thread in threading.enumerate())
    first_loss = lose(model, "gcs", below(keeper, "gcs_server")[:1])
    model = all_is_free()
    lose(model, "all", below(keeper_of_now(), "gcs_server", "raylet"))
    model = all_is_free("g")
    lose(model, "keeper", [keeper_of_now()])
    model = all_is_free()
    stopped = keeper_of_now()
    link._PING_S, link._SILENT_S = 1.0, 6.0
    stopped.suspend()
    print("stopped", condition(model.stats), flush=True)
    all_is_free("g")
    for keeper in keepers:
        while keeper.is_running() and keeper != stopped:
            time.sleep(0.5)
    # by then a process that held Ray would have ended
    time.sleep(max(0, 2 * ALONE_S - (time.monotonic() - first_loss)))
    query("f")
    print("alive", flush=True)
"""


@pytest.mark.slow
@pytest.mark.fault("F4")
def test_when_its_ray_is_lost_in_whatever_way_the_driver_lives_and_registers_again(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    first = ray_head()
    address = next(first)
    code = textwrap.dedent(LOSES).replace("ADDRESS", address).replace("ALONE_S", str(ALONE_S))
    script = Script(program(SPARK, *code.splitlines()), tmp_path)
    try:
        script.read_until("up")
        first.close()
        script.read_until("lost")
        second = ray_head(int(address.rpartition(":")[2]))
        assert next(second) == address
        try:
            script.read_until("back")
        finally:
            second.close()
        said = script.finish().splitlines()
        assert said == ["gcs True", "all True", "keeper True", "stopped RAY_UNAVAILABLE", "alive"]
    finally:
        first.close()
        script.kill()
    assert_nothing_left(script, before)


@pytest.mark.slow
@pytest.mark.fault("F23")
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
