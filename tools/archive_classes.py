# SPDX-License-Identifier: Apache-2.0
"""Keep Spark's classes as a JVM has them in memory, so that the JVMs of tests start in two thirds of the time.

`python tools/archive_classes.py FILE` runs a small program in Spark and writes FILE, which `java` takes with
-XX:SharedArchiveFile. It is of use for this Spark with this jar of the bridge in this place only; a JVM with other jars
leaves it alone. What is there already is kept while nothing of that has changed.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pyspark

from sparkmodel.spark.bridge import find_jar

LIKE_TESTS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # as tests/conftest.py has it

PROGRAM = """
import sys
import sparkmodel as sm
from pyspark.sql import SparkSession

builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
builder.config("spark.driver.extraJavaOptions", sys.argv[2])  # not of Spark's launcher, which is a JVM too
spark = sm.configure_spark(builder).config("spark.sql.warehouse.dir", sys.argv[1] + "/warehouse").getOrCreate()
numbers = spark.range(1000).selectExpr("id", "id % 7 AS k", "id / 3 AS x", "concat('a', id) AS s", "array(id) AS l")
numbers.write.parquet(sys.argv[1] + "/numbers")
spark.read.parquet(sys.argv[1] + "/numbers").createOrReplaceTempView("n")
spark.sql("SELECT k, sum(x), max(s) FROM n WHERE id > 5 GROUP BY k ORDER BY k").collect()
spark.sql("SELECT count(*) FROM n JOIN n m USING (id) WHERE EXISTS (SELECT 1 FROM n o WHERE o.k = n.k)").collect()
spark.createDataFrame([(1, "a", 0.5)], "i int, s string, d double").cache().selectExpr("i + 1", "upper(s)").toArrow()
spark.sql("SHOW MODELS").collect()
spark.stop()
"""


def state_of(java: str) -> str:
    """What the file depends on, as a text."""
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    places = [pathlib.Path(pyspark.__file__).parent / "jars", find_jar()]
    stats = "".join(f"{place} {place.stat().st_size} {place.stat().st_mtime_ns}\n" for place in places)
    return f"{LIKE_TESTS}\n{version}{pyspark.__version__}\n{stats}"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: archive_classes.py FILE")
    file = pathlib.Path(sys.argv[1]).absolute()
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(pathlib.Path(home) / "bin") if home else None)
    state, seen = state_of(str(java)), file.with_suffix(".state")
    if file.exists() and seen.exists() and seen.read_text() == state:
        return
    with tempfile.TemporaryDirectory(prefix="sparkmodel-classes-") as scratch:
        made = pathlib.Path(scratch) / "made"
        options = f"{LIKE_TESTS} -XX:ArchiveClassesAtExit={made} -Xlog:disable -Xlog:all=error:stderr"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, scratch, options],
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not made.exists():
            sys.exit(f"Spark's classes cannot be kept:\n{done.stdout}{done.stderr}")
        seen.unlink(missing_ok=True)
        new = file.with_suffix(f".{os.getpid()}.tmp")
        shutil.copyfile(made, new)
        new.replace(file)  # at once: a JVM may be using the old one
    seen.write_text(state)


if __name__ == "__main__":
    main()
