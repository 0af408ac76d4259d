# SPDX-License-Identifier: Apache-2.0
"""The same program on a local session, a standalone cluster and Spark Connect, whatever `python3` is on the PATH.

One process has them all, one after the other, and a session that is restarted.
"""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

from tests.integration.programs import run_all
from tests.integration.scripts import Script

PROGRAM = """
    import sys, time
    import sparkmodel as sm
    from pyspark.sql import SparkSession, functions as F

    class Double:
        def predict(self, data):
            return (data.iloc[:, 0] if hasattr(data, "iloc") else data[:, 0]) * 2.0

    if __name__ == "__main__":
        builder = SparkSession.builder{builder}
        spark = {configure}(builder).getOrCreate()
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
            time.sleep(0.1)
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


RESTARTED = """
    import pandas as pd
    import sparkmodel as sm
    from pyspark.sql import SparkSession

    class Times:
        def __init__(self, factor): self.factor = factor
        def predict(self, frame): return frame.iloc[:, 0] * self.factor

    def start():
        return sm.configure_spark(SparkSession.builder{builder}).getOrCreate()

    def values(query):
        return [row[0] for row in spark.sql(query).collect()]

    spark = start()
    old = sm.register(spark, "f", Times(2.0), result_type="double", num_cpus=0.1)
    rows = spark.createDataFrame(pd.DataFrame({{"x": [1.0, 2.0]}}), "x double")
    scored = rows.mapInPandas(lambda it: (d.assign(y=old.predict(d)) for d in it), "x double, y double")
    assert sorted(row.y for row in scored.collect()) == [2.0, 4.0]
    assert rows.rdd.map(lambda row: old.predict([{{"x": row.x}}])[0]).sum() == 6.0
    spark.stop()
    spark = start()
    assert old.predict(pd.DataFrame({{"x": [1.0]}})).tolist() == [2.0]
    assert [row[0] for row in spark.range(2).select(old("id")).collect()] == [0.0, 2.0]
    assert values("SELECT ml_predict('f', id) FROM range(2)") == [0.0, 2.0]
    spark.sql("CREATE VIEW v AS SELECT f(id) AS y FROM range(2)")
    assert values("SELECT y FROM v") == [0.0, 2.0]
    model = sm.get("f", spark)
    assert values("SELECT f(id) FROM range(2)") == [0.0, 2.0]
    old.update(Times(3.0))
    assert values("SELECT f(id) FROM range(2)") == [0.0, 3.0]
    old.drop()
    assert sm.models() == []
    again = sm.register(spark, "f", Times(5.0), result_type="double", num_cpus=0.1)
    old.drop()
    assert values("SELECT f(id) FROM range(2)") == [0.0, 5.0]
    assert values("SELECT y FROM v") == [0.0, 5.0]
    again.drop()
    assert not spark.catalog.functionExists("f")
    spark.stop()
    print("passed")
"""

CLUSTER = '.master("{}").config("spark.executor.memory", "1g").config("spark.ui.enabled", "false")'
SESSION = {
    "local": "pyspark.sql.session",
    "standalone": "pyspark.sql.session",
    "connect": "pyspark.sql.connect.session",
}


def program(builder: str, configure: str = "sm.configure_spark") -> str:
    return PROGRAM.format(builder=builder, configure=configure)


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH whose `python3` claims to be another version, as on a machine with an old system Python."""
    folder = tmp_path_factory.mktemp("bin")
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


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, standalone: str, other_python: str) -> dict[str, str]:
    """What the program prints on each session, the local one before the others."""
    cluster = CLUSTER.format(standalone)
    programs = {
        "begin": "import sparkmodel as sm; sm.init(num_cpus=2, log_to_driver=False)",
        "local": program('.master("local[*]")'),
        "standalone": program(cluster),
        "restarted": RESTARTED.format(builder=cluster),
        "connect": program('.remote("local[2]")'),
    }
    return run_all(programs, tmp_path_factory.mktemp("sessions"), {"PATH": other_python})


@pytest.mark.slow
@pytest.mark.parametrize("session", SESSION)
def test_sessions_with_configure_spark_whatever_python_is_on_the_path(told: dict[str, str], session: str) -> None:
    assert told[session].splitlines()[-1:] == [f"passed {SESSION[session]}"], told[session]


@pytest.mark.slow
def test_a_session_that_is_stopped_and_started_again_on_a_cluster(told: dict[str, str]) -> None:
    assert told["restarted"].splitlines() == ["passed"], told["restarted"]


@pytest.mark.slow
@pytest.mark.fault("F24")
def test_wrong_python_is_explained_without_configure_spark(tmp_path: pathlib.Path, other_python: str) -> None:
    script = Script(program('.master("local[2]")', "(lambda b: b)"), tmp_path, {"PATH": other_python})
    out = script.finish()
    assert "EXECUTOR_ENVIRONMENT they run another Python version than this driver" in out
    assert "sm.configure_spark" in out
    assert "[]" in out, "the pool was left"
