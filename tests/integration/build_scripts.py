# SPDX-License-Identifier: Apache-2.0
"""Programs that say which Spark they run, whether it has the bridge, and which way their queries go."""

from __future__ import annotations

import pathlib

SESSION = """
    import logging, sys
    logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stdout)
    import pyspark
    import sparkmodel as sm
    from pyspark.sql import SparkSession
    from sparkmodel.spark.bridge import bridge_status, warn_of_misfit

    builder = SparkSession.builder{builder}.config("spark.ui.enabled", "false")
    spark = sm.configure_spark(builder, bridge={bridge}).getOrCreate()
    print("spark", pyspark.__version__[:3], bridge_status(spark))
    warn_of_misfit(spark)
    assert [row.x for row in spark.sql("SELECT sum(id) AS x FROM range(10)").collect()] == [45]
{more}
    spark.stop()
"""
NEXT = "the next JVM"
END_JVM = """
    print("{next}")
    from pyspark import SparkContext
    SparkContext._gateway.shutdown()
    SparkContext._gateway.proc.stdin.close()
    SparkContext._gateway.proc.wait()
    SparkContext._gateway = SparkContext._jvm = None
"""
RAY = """
    sm.init(num_cpus=2, log_to_driver=False)
"""
POOL = """
    sm.register(spark, "twice", lambda frame: frame.iloc[:, 0] * 2.0, result_type="double", num_cpus=0.5)
    frame = spark.sql("SELECT sum(twice(id)) AS x FROM range(100)")
    assert frame.first().x == 9900
    print("python path" if "ArrowEvalPython" in frame._jdf.queryExecution().executedPlan().toString() else "bridge")
    sm.unregister(spark, "twice")
"""


STATEMENTS = """
    def rows(sql):
        return [tuple(row) for row in spark.sql(sql).collect()]

    code = "$$def predict(frame): return frame['x'] * 3.0$$"
    rows("CREATE MODEL thrice INPUT (x double) RETURNS double USING python OPTIONS (num_cpus = 0.1) AS " + code)
    assert rows("SELECT thrice(x => 2D), thrice(*), thrice() FROM (SELECT 2D AS x, 'a' AS y)") == [(6.0, 6.0, 6.0)]
    assert rows("FROM ML_PREDICT(TABLE(SELECT 2D AS x), MODEL thrice, DESCRIPTOR(x), timeout => '9s')") == [(2.0, 6.0)]
    assert [row[:3] for row in rows("SHOW MODELS LIKE 'th*'")] == [("thrice", 1, "ready")]
    assert "[INVALID_OPTION]" in str(rows("EXPLAIN ALTER MODEL thrice SET OPTIONS (wokers = 2)"))
    for wrong, condition in {
        "CREATE MODEL x LOCATOIN 'a'": "PARSE_SYNTAX_ERROR",
        "SELECT thrice('a')": "SCHEMA_MISMATCH",
        "DROP MODEL tirce": "MODEL_NOT_FOUND",
    }.items():
        try:
            rows(wrong)
        except Exception as error:
            assert error.getCondition() == condition, error
        else:
            raise AssertionError(wrong)
    rows("DROP MODEL thrice")
    print("statements")
"""


def session(builder: str, more: str = "", bridge: bool = True) -> str:
    return SESSION.replace("{builder}", builder).replace("{more}", more).replace("{bridge}", str(bridge))


def in_one_process(programs: list[str]) -> str:
    """Programs one after the other, each in a JVM of its own; between what they print is a line NEXT."""
    return END_JVM.replace("{next}", NEXT).join(programs)


def with_jar(jar: pathlib.Path) -> str:
    return (
        f'.master("local[2]").config("spark.driver.extraClassPath", "{jar}")'
        '.config("spark.sql.extensions", "io.sparkmodel.SparkModelExtensions")'
    )
