# SPDX-License-Identifier: Apache-2.0
"""Models in a real Delta Lake table, by version and by time; and MLSQL's example, all blocks of docs/mlsql.md.

Delta Lake has no build for the Spark of this environment yet, so one program does both with the Spark that it is built
for, which `tools/fetch.py` puts beside the environment, and with a jar of the bridge for that one.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.integration.scripts import ROOT, Script

HOME = pathlib.Path(sys.prefix) / "delta"

SESSION = """
import linecache, pathlib, re, traceback
import pytest
import sparkmodel as sm
from pyspark.sql import SparkSession
from sparkmodel.errors import SparkModelError
from sparkmodel.loaders import bundle
from sparkmodel.spark.bridge import bridge_status
from sparkmodel.spark.tables import read_pieces, save_to_table

spark = sm.configure_spark(
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
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


def load_text(path):
    return (pathlib.Path(path) / "MLmodel").read_text()

"""

VERSIONS = """
def save(text, **options):
    directory = pathlib.Path(text)
    directory.mkdir()
    (directory / "MLmodel").write_text(text)
    return save_to_table(spark, directory, "ai_model.texts", **options)

def load(source):
    target = pathlib.Path("target" + str(len(list(pathlib.Path().iterdir()))))
    target.mkdir()
    digest = bundle.unpack(read_pieces(spark, "texts", source), target, "Cannot load model 'texts'")
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
history = spark.sql("DESCRIBE HISTORY ai_model.texts").orderBy("version").collect()
assert [row.version for row in history] == [0, 1], history

assert load("table:ai_model.texts") == ("second", v1)
assert load("table:ai_model.texts@0") == ("first", v0)
assert load("table:ai_model.texts@1") == ("second", v1)
assert load("table:spark_catalog.ai_model.texts@0") == ("first", v0)
for row, expected in zip(history, ("first", "second")):
    at = row.timestamp.isoformat(" ", "milliseconds") if row.timestamp.microsecond else str(row.timestamp)
    assert load("table:ai_model.texts@" + at)[0] == expected, at

for source in ("table:ai_model.texts@7", "table:ai_model.texts@2001-01-01", "table:ai_model.texts@2999-01-01"):
    name, fact = condition(source)
    assert name == "MODEL_NOT_FOUND", (name, fact)

for version, expected in (("@0", "first"), ("", "second")):
    model = sm.register(
        spark,
        "texts",
        "table:ai_model.texts" + version,
        load=load_text,
        predict=lambda text, frame: [text] * len(frame),
        result_type="string",
        num_cpus=0.5,
    )
    assert spark.sql("SELECT texts(id) AS t FROM range(3)").distinct().collect()[0].t == expected
    model.drop()

for file in pathlib.Path("warehouse/ai_model.db/texts").glob("*.parquet"):
    file.unlink()
assert condition("table:ai_model.texts@1")[0] == "MODEL_LOAD_FAILED"
"""

PAGE = """
page = pathlib.Path("{page}").read_text()
python, *sql = re.findall(r"^```(?:python|sql)\\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
# else MLflow looks for what is required by running the model in a process of its own
named = python.replace(", signature=signature)", ", signature=signature, pip_requirements=['keras', 'tensorflow'])")
assert named != python

names = dict(spark=spark)
exec(named, names)
expected = names["net"].predict(names["images"], verbose=0)
(create, view, count), (stream,), (alter, describe, drop) = [
    [statement for statement in block.split(";") if statement.strip()] for block in sql
]
one = create.replace("workers = 2", "workers = 1")  # each imports TensorFlow, and so do those of a new version
assert one != create
spark.sql(one)
assert sm.get("model_predict").stats()["loads"] == 1
spark.sql(view)
found = spark.sql(count).first()
right = int((expected.argmax(axis=1) == names["digits"].target).sum())
assert (found.digits, found.right) == (1797, right) and right > 1500, (found, right)
scored = spark.table("scored").collect()
assert sum(sum(row.probabilities) for row in scored) == pytest.approx(1797, abs=0.01)

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
"""

# each part has its own outcome: the second is tried whatever became of the first
RUN = """
for part, code in {"versions": VERSIONS, "page": PAGE}.items():
    linecache.cache[part] = len(code), None, code.splitlines(True), part  # for what a traceback shows
    try:
        exec(compile(code, part, "exec"), globals())
    except BaseException:
        print(part, "failed:", traceback.format_exc(), flush=True)
    else:
        print(part, "passed", spark.version, flush=True)
spark.stop()
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the program says of its parts."""
    jars = sorted((HOME / "jars").glob("*.jar"))
    site = HOME / "site"
    if len(jars) != 2 or not site.is_dir():
        pytest.fail(f"Delta Lake is not in '{HOME}': run `python tools/fetch.py delta {HOME}`")
    spark_home = {"SPARK_HOME": str(site / "pyspark")}
    build = [sys.executable, str(ROOT / "jvm-bridge" / "build.py"), "--output", str(HOME / "bridge"), "--if-changed"]
    subprocess.run(build, env={**os.environ, **spark_home}, check=True, capture_output=True, timeout=600)
    session = SESSION.replace("{jars}", ",".join(map(str, jars)))
    session = session.replace("{bridge}", str(HOME / "bridge" / "sparkmodel-bridge.jar"))
    page = PAGE.replace("{page}", str(ROOT / "docs" / "mlsql.md"))
    program = f"{session}\nVERSIONS = {VERSIONS!r}\nPAGE = {page!r}\n{RUN}"
    environment = {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", **spark_home}
    return Script(program, tmp_path_factory.mktemp("delta"), environment).finish()


@pytest.mark.slow
def test_each_save_is_a_version_that_can_be_read_by_number_and_by_time(out: str) -> None:
    assert "versions passed 4.2.0" in out, out


@pytest.mark.slow
def test_the_blocks_of_the_page_about_mlsql_run_and_give_what_the_model_gives(out: str) -> None:
    assert "page passed 4.2.0" in out, out
