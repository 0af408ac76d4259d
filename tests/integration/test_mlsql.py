# SPDX-License-Identifier: Apache-2.0
"""MLSQL's example: all blocks of docs/mlsql.md, with a real Keras model in a real Delta Lake table.

Delta Lake has no build for the Spark of this environment, so the program runs with the Spark that it is built for, and
with a jar of the bridge for that one.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.integration.scripts import ROOT, Script

HOME = pathlib.Path(sys.prefix) / "delta"

PROGRAM = """
    import pathlib, re
    import sparkmodel as sm
    from pyspark.sql import SparkSession
    from sparkmodel.spark.bridge import bridge_status

    page = pathlib.Path("{page}").read_text()
    python, *sql = re.findall(r"^```(?:python|sql)\\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    spark = sm.configure_spark(
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.jars", "{jars}")
        .config("spark.driver.extraClassPath", "{bridge}")  # comes before the jar of the other Spark
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.warehouse.dir", str(pathlib.Path("warehouse").absolute()))
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.databricks.delta.snapshotPartitions", "1")
    ).getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    sm.init(num_cpus=2)
    assert bridge_status(spark) == "active"
    spark.sql("CREATE DATABASE ai_model")

    names = dict(spark=spark)
    exec(python, names)
    expected = names["net"].predict(names["images"], verbose=0)
    (create, view, count), (stream,), (alter, describe, drop) = [
        [statement for statement in block.split(";") if statement.strip()] for block in sql
    ]
    spark.sql(create)
    assert sm.get("model_predict").stats()["loads"] == 2
    spark.sql(view)
    found = spark.sql(count).first()
    right = int((expected.argmax(axis=1) == names["digits"].target).sum())
    assert (found.digits, found.right) == (1797, right) and right > 1500, (found, right)
    scored = spark.table("scored").collect()
    assert sum(sum(row.probabilities) for row in scored) == __import__("pytest").approx(1797, abs=0.01)

    query = spark.sql(stream).writeStream.format("memory").queryName("streamed").trigger(availableNow=True).start()
    query.awaitTermination()
    key = "sort_array(collect_list(struct(label, array_max(probabilities))))"
    assert spark.table("streamed").selectExpr(key).first() == spark.table("scored").selectExpr(key).first()
    query.stop()

    sm.save_to_table(spark, "mnist", "ai_model.mnist", mode="overwrite")  # one more version
    spark.sql(alter)
    described = dict(tuple(row) for row in spark.sql(describe).collect())
    assert described["Source"] == "table:ai_model.mnist@0" and described["Version"] == "2", described
    assert spark.sql(count).first() == found
    spark.sql(drop)
    assert sm.models() == []
    print("passed", spark.version)
    spark.stop()
"""


@pytest.mark.slow
def test_the_blocks_of_the_page_run_and_give_what_the_model_gives(tmp_path: pathlib.Path) -> None:
    jars = sorted((HOME / "jars").glob("*.jar"))
    site = HOME / "site"
    if len(jars) != 2 or not site.is_dir():
        pytest.fail(f"Delta Lake is not in '{HOME}': run `python tools/fetch.py delta {HOME}`")
    spark_home = {"SPARK_HOME": str(site / "pyspark")}
    build = [sys.executable, str(ROOT / "jvm-bridge" / "build.py"), "--output", str(HOME / "bridge"), "--if-changed"]
    subprocess.run(build, env={**os.environ, **spark_home}, check=True, capture_output=True, timeout=600)
    program = PROGRAM.replace("{page}", str(ROOT / "docs" / "mlsql.md")).replace("{jars}", ",".join(map(str, jars)))
    program = program.replace("{bridge}", str(HOME / "bridge" / "sparkmodel-bridge.jar"))
    environment = {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", **spark_home}
    assert "passed 4.2.0" in Script(program, tmp_path, environment).finish()
