# SPDX-License-Identifier: Apache-2.0
"""P11's fresh process: from its start to a model's first answer, and no further.

`python -m benchmarks.fresh sparkmodel|mlflow STARTED URI SQL` prints the answer, and the seconds since STARTED (Unix
time). Only what a program of this contender needs is imported; not `benchmarks.common`, which imports both.
"""

from __future__ import annotations

import json
import sys
import time

NAME = "m"


def main(contender: str, started: float, uri: str, sql: str) -> None:
    """Do what a program does that has one query."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.log.level", "ERROR")
    if contender == "sparkmodel":
        import sparkmodel as sm

        spark = sm.configure_spark(builder).getOrCreate()
        sm.register(spark, NAME, uri)
    else:
        import mlflow

        spark = builder.getOrCreate()
        spark.udf.register(NAME, mlflow.pyfunc.spark_udf(spark, uri, result_type="double", env_manager="local"))
    answer = spark.sql(sql).first()[0]
    print(json.dumps({"answer": answer, "seconds": time.time() - started}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])
