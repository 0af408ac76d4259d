# SPDX-License-Identifier: Apache-2.0
"""The same program on a local session, a standalone cluster and Spark Connect, whatever `python3` is on the PATH."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

from tests.integration.scripts import Script

PROGRAM = """
    import os, sys, pathlib
    import sparkmodel as sm
    from pyspark.sql import SparkSession, functions as F

    class Double:
        def predict(self, data):
            return (data.iloc[:, 0] if hasattr(data, "iloc") else data[:, 0]) * 2.0

    if __name__ == "__main__":
        builder = SparkSession.builder{builder}
        spark = {configure}(builder).getOrCreate()
        sm.init(num_cpus=2, log_to_driver=False)
        try:
            model = sm.register(spark, "f", Double(), result_type="double", workers=2, num_cpus=0.5)
        except sm.SparkModelError as error:
            print(error.condition, error.fact, error.hint, sm.models())
            sys.exit()
        frame = spark.range(0, 10000, numPartitions=4)
        frame.createOrReplaceTempView("t")
        total = 10000 * 9999
        assert spark.sql("SELECT sum(f(id)) AS s FROM t").first().s == total
        assert spark.sql("SELECT sum(f(array(id, 1))) AS s FROM t WHERE f(struct(id)) >= 0").first().s == total
        assert frame.select(F.sum(model("id")).alias("s")).first().s == total
        assert model.transform(frame).selectExpr("sum(prediction) AS s").first().s == total
        stream = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 10).load()
        query = stream.selectExpr("value", "f(value) AS p").writeStream.format("memory").queryName("q").start()
        while spark.table("q").count() < 30:
            pass
        query.stop()
        assert spark.table("q").where("p <> value * 2").count() == 0
        assert model.stats()["loads"] == 2
        try:
            spark.sql("SELECT f('text')").collect()
        except Exception as error:
            assert "[PREDICT_FAILED]" in str(error) or "[WRONG_RESULT_TYPE]" in str(error), error
        else:
            raise AssertionError("no error")
        try:
            sm.register(spark, "f", Double(), result_type="double")
        except sm.SparkModelError as error:
            assert error.condition == "NAME_TAKEN", error
        sm.unregister(spark, "f")
        assert not spark.catalog.functionExists("f")
        print("passed", type(spark).__module__)
        spark.stop()
"""


def program(builder: str, configure: str = "sm.configure_spark") -> str:
    return PROGRAM.format(builder=builder, configure=configure)


@pytest.mark.slow
def test_standalone_cluster(tmp_path: pathlib.Path, standalone: str) -> None:
    builder = f'.master("{standalone}").config("spark.executor.memory", "1g")'
    assert "passed pyspark.sql.session" in Script(program(builder), tmp_path).finish()


@pytest.mark.slow
@pytest.mark.usefixtures("connect_port")
def test_spark_connect(tmp_path: pathlib.Path) -> None:
    out = Script(program('.remote("local[2]")'), tmp_path, {"SPARK_CONNECT_MODE_ENABLED": None}).finish()
    assert "passed pyspark.sql.connect.session" in out


@pytest.fixture
def other_python(tmp_path: pathlib.Path) -> str:
    """A PATH whose `python3` claims to be another version, as on a machine with an old system Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "python3"
    # a real interpreter that lies about its version: what Spark's worker compares is sys.version_info
    fake.write_text(
        f"""#!/bin/sh
exec {sys.executable} -c '
import sys, runpy
class Version(tuple):
    major, minor, micro = 3, 9, 1
sys.version_info = Version((3, 9, 1, "final", 0))
sys.argv = sys.argv[1:]
if sys.argv[0] == "-m":
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
else:
    exec(sys.argv[1])
' "$@"
"""
    )
    fake.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.slow
def test_local_session_with_configure_spark_whatever_python_is_on_the_path(
    tmp_path: pathlib.Path, other_python: str
) -> None:
    script = Script(program('.master("local[*]")'), tmp_path, {"PATH": other_python})
    assert "passed pyspark.sql.session" in script.finish()


@pytest.mark.slow
def test_wrong_python_is_explained_without_configure_spark(tmp_path: pathlib.Path, other_python: str) -> None:
    script = Script(program('.master("local[2]")', "(lambda b: b)"), tmp_path, {"PATH": other_python})
    out = script.finish()
    assert "EXECUTOR_ENVIRONMENT they run another Python version than this driver" in out
    assert "sm.configure_spark" in out
    assert "[]" in out, "the pool was left"
