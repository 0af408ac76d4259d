# SPDX-License-Identifier: Apache-2.0
"""Ray starts while the source is settled: who gives up meanwhile waits for nothing and leaves nothing.

Who goes on, has the Ray that was starting: see `test_lifecycle`, the driver that is killed.
"""

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

SLOW = """
    sm.register(spark, "f", SlowToPickle(), result_type="double")
"""


@pytest.mark.slow
def test_a_source_that_is_not_there_is_an_error_at_once(tmp_path: pathlib.Path) -> None:
    before = scratch_directories()
    script = Script(PROGRAM + MISSING, tmp_path)
    assert script.finish().splitlines() == ["MODEL_NOT_FOUND while Ray was still starting: True"]
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
