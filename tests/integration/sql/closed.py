# SPDX-License-Identifier: Apache-2.0
"""An application that says who may make models, and from where: in a process of its own, since its settings are."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable

from tests.integration.scripts import Script
from tests.integration.sql.telling import Told

PLACES = "models:,{home},s3://bucket/models,python:team,table:sales"
CATALOG = "io.sparkmodel.catalog.MlflowCatalog"

PROGRAM = """
import json, pathlib, sys
import mlflow
from pyspark.sql import SparkSession
import sparkmodel as sm
from tests.integration.sql.telling import tell

home = {home!r}
mlflow.set_tracking_uri("sqlite:///" + home + "/mlflow.db")
sm.init(num_cpus=4, log_to_driver=False)
spark = (
    sm.configure_spark(SparkSession.builder.master("local[1]"))
    .config("spark.ui.enabled", "false")
    .config("spark.sparkmodel.allowedLocations", {places!r})
    .config("spark.sql.catalog.theirs", {catalog!r})
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
# an analyst's settings
spark.conf.set("spark.sparkmodel.ddl.enabled", "true")
spark.conf.set("spark.sparkmodel.allowedLocations", "/,file:,python:,table:,models:")
spark.conf.set("spark.sparkmodel.allowInlineCode", "true")
spark.conf.set("spark.sql.catalog.own", {catalog!r})
spark.sql("CREATE TEMPORARY VIEW t AS SELECT * FROM VALUES (1D, 2D, 'x') AS t(a, b, c)")
options = "OPTIONS (trust_pickle = true, num_cpus = 0.1)"
for name in ("wine", "line"):
    spark.sql(f"CREATE MODEL {{name}} RETURNS double LOCATION '{{home}}/line.pkl' {{options}}")
open_statements, closed_statements = json.loads(pathlib.Path("statements.json").read_text())
told = [tell(spark, statement) for statement in open_statements]
spark.sparkContext._jsc.sc().conf().set("spark.sparkmodel.ddl.enabled", "false")  # as if started with it
told += [tell(spark, statement) for statement in closed_statements]
print(json.dumps(told))
spark.stop()
"""


def answers(home: pathlib.Path, with_ddl: Iterable[str], without: Iterable[str]) -> dict[str, Told | None]:
    """What statements are told by an application with allowed locations; the second ones by one without model DDL.

    `{home}` in a statement is a directory that is allowed.
    """
    first, second = list(with_ddl), list(without)
    (home / "statements.json").write_text(json.dumps([first, second]).replace("{home}", str(home)))
    program = PROGRAM.format(home=str(home), places=PLACES.format(home=home), catalog=CATALOG)
    found = json.loads(Script(program, home).finish().splitlines()[-1])
    told = [None if parts is None else Told(*parts) for parts in found]
    return dict(zip([*first, *second], told, strict=True))
