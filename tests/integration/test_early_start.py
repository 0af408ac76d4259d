# SPDX-License-Identifier: Apache-2.0
"""Ray starts while the source is settled: who gives up meanwhile waits for nothing and leaves nothing."""

from __future__ import annotations

import os
import pathlib
import signal

import pytest

from tests.integration.scripts import Script, assert_nothing_left, scratch_directories

PROGRAM = """
    import time
    import sparkmodel as sm
    from sparkmodel.keeper import connection
    from sparkmodel.errors import SparkModelError
    from pyspark.sql import SparkSession

    def double(data):
        return data.iloc[:, 0] * 2.0

    class SlowToPickle:
        def __getstate__(self):
            print("settling", flush=True)
            time.sleep(60)

        def predict(self, data):
            return data.iloc[:, 0] * 2.0

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = sm.configure_spark(builder).getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
"""

MISSING = """
    try:
        sm.register(spark, "f", "/no/such/model")
    except SparkModelError as error:
        print(error.condition, "while Ray was still starting:", connection.is_connected() is False)
"""

AGAIN = """
    model = sm.register(spark, "f", double, result_type="double", num_cpus=0.1)
    print(model.predict([{"x": 1.0}]), sm.models(), connection.current().is_local)
"""

SLOW = """
    sm.register(spark, "f", SlowToPickle(), result_type="double")
"""


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_source_that_is_not_there_is_an_error_at_once(tmp_path: pathlib.Path, again: bool) -> None:
    before = scratch_directories()
    script = Script(PROGRAM + MISSING + (AGAIN if again else ""), tmp_path)
    lines = script.finish().splitlines()
    assert lines[0] == "MODEL_NOT_FOUND while Ray was still starting: True"
    assert lines[1:] == (["[2.0] ['f'] True"] if again else [])
    assert_nothing_left(script, before)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_ends_while_ray_starts_leaves_nothing(tmp_path: pathlib.Path, end: signal.Signals) -> None:
    before = scratch_directories()
    script = Script(PROGRAM + SLOW, tmp_path)
    script.read_until("settling")
    os.kill(script.process.pid, end)
    out, err = script.process.communicate(timeout=180)
    assert script.process.returncode != 0
    assert "KeyboardInterrupt" in err or end != signal.SIGINT
    assert "SIGTERM handler" not in err
    assert out == ""
    assert_nothing_left(script, before)
