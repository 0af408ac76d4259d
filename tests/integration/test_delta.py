# SPDX-License-Identifier: Apache-2.0
"""Models in a real Delta Lake table, by version and by time.

Delta Lake has no build for the Spark of this environment yet, so the program runs with the Spark that it is built
for, which `tools/fetch.py` puts beside the environment.
"""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

from tests.integration.scripts import ROOT, Script

HOME = pathlib.Path(sys.prefix) / "delta"

PROGRAM = """
    import pathlib, time
    import pyspark
    import sparkmodel as sm
    from pyspark.sql import SparkSession
    from sparkmodel.loaders import bundle
    from sparkmodel.errors import SparkModelError
    from sparkmodel.spark.tables import read_pieces, save_to_table

    spark = (
        sm.configure_spark(SparkSession.builder.master("local[2]"))
        .config("spark.ui.enabled", "false")
        .config("spark.jars", "{jars}")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.warehouse.dir", str(pathlib.Path("warehouse").absolute()))
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.databricks.delta.snapshotPartitions", "1")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    spark.sql("CREATE DATABASE ai_model")

    def save(text, **options):
        directory = pathlib.Path(text)
        directory.mkdir()
        (directory / "MLmodel").write_text(text)
        return save_to_table(spark, directory, "ai_model.mnist", **options)

    def load(source):
        target = pathlib.Path("target" + str(len(list(pathlib.Path().iterdir()))))
        target.mkdir()
        digest = bundle.unpack(read_pieces(spark, "mnist", source), target, "Cannot load model 'mnist'")
        return (target / "MLmodel").read_text(), digest

    def condition(source):
        try:
            load(source)
        except SparkModelError as error:
            return error.condition, error.fact
        raise AssertionError("no error for " + source)

    v0 = save("first", format="delta")
    v1 = save("second")  # the table's own format, not the session's
    assert v0 != v1
    history = spark.sql("DESCRIBE HISTORY ai_model.mnist").orderBy("version").collect()
    assert [row.version for row in history] == [0, 1], history

    assert load("table:ai_model.mnist") == ("second", v1)
    assert load("table:ai_model.mnist@0") == ("first", v0)
    assert load("table:ai_model.mnist@1") == ("second", v1)
    assert load("table:spark_catalog.ai_model.mnist@0") == ("first", v0)
    for row, expected in zip(history, ("first", "second")):
        at = row.timestamp.isoformat(" ", "milliseconds") if row.timestamp.microsecond else str(row.timestamp)
        assert load("table:ai_model.mnist@" + at)[0] == expected, at

    for source in ("table:ai_model.mnist@7", "table:ai_model.mnist@2001-01-01", "table:ai_model.mnist@2999-01-01"):
        name, fact = condition(source)
        assert name == "MODEL_NOT_FOUND", (name, fact)

    def load_text(path):
        return (pathlib.Path(path) / "MLmodel").read_text()

    sm.init(num_cpus=2)
    for version, expected in (("@0", "first"), ("", "second")):
        model = sm.register(
            spark,
            "mnist",
            "table:ai_model.mnist" + version,
            load=load_text,
            predict=lambda text, frame: [text] * len(frame),
            result_type="string",
            num_cpus=0.5,
        )
        assert spark.sql("SELECT mnist(id) AS m FROM range(3)").distinct().collect()[0].m == expected
        model.drop()

    for file in pathlib.Path("warehouse/ai_model.db/mnist").glob("*.parquet"):
        file.unlink()
    assert condition("table:ai_model.mnist@1")[0] == "MODEL_LOAD_FAILED"
    print("passed", pyspark.__version__)
    spark.stop()
"""


@pytest.mark.slow
def test_each_save_is_a_version_that_can_be_read_by_number_and_by_time(tmp_path: pathlib.Path) -> None:
    jars = sorted((HOME / "jars").glob("*.jar"))
    site = HOME / "site"
    if len(jars) != 2 or not site.is_dir():
        pytest.fail(f"Delta Lake is not in '{HOME}': run `python tools/fetch.py delta {HOME}`")
    program = PROGRAM.replace("{jars}", ",".join(map(str, jars)))
    environment = {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "SPARK_HOME": str(site / "pyspark")}
    assert "passed 4.2.0" in Script(program, tmp_path, environment).finish()
