# SPDX-License-Identifier: Apache-2.0
"""An application that says who may make models, and from where.

It is the tests' own, whose settings are others meanwhile: they are read with each statement. `test_thrift.py` has
servers that are started with them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from pyspark.sql import SparkSession

from tests.integration.sql.telling import Told, tell

PLACES = "models:,{home},s3://bucket/models,python:team,table:sales"
CATALOG = "io.sparkmodel.catalog.MlflowCatalog"
DDL = "spark.sparkmodel.ddl.enabled"
LOCATIONS = "spark.sparkmodel.allowedLocations"
INLINE_CODE = "spark.sparkmodel.allowInlineCode"


@contextlib.contextmanager
def operated(spark: SparkSession, settings: Mapping[str, str | None]) -> Iterator[None]:
    """The application has these settings meanwhile, as if it was started with them; None takes one away."""
    conf = spark.sparkContext._jsc.sc().conf()
    before = {key: conf.get(key) if conf.contains(key) else None for key in settings}

    def change(all_: Mapping[str, str | None]) -> None:
        for key, value in all_.items():
            conf.remove(key) if value is None else conf.set(key, value)

    change(settings)
    try:
        yield
    finally:
        change(before)


def answers(shared: SparkSession, home: str, with_ddl: Iterable[str], without: Iterable[str]) -> dict[str, Told | None]:
    """What statements are told by an application with allowed locations; the second ones by one without model DDL.

    `{home}` in a statement is a directory that is allowed; there are the models of the session.
    """
    session = shared.newSession()
    analysts = {DDL: "true", LOCATIONS: "/,file:,python:,table:,models:", INLINE_CODE: "true"}
    for key, value in {**analysts, "spark.sql.catalog.own": CATALOG, "spark.sql.catalog.theirs": CATALOG}.items():
        session.conf.set(key, value)
    session.sql("CREATE TEMPORARY VIEW t AS SELECT * FROM VALUES (1D, 2D, 'x') AS t(a, b, c)")
    operators = {LOCATIONS: PLACES.format(home=home), INLINE_CODE: None, "spark.sql.catalog.theirs": CATALOG}
    found = {}
    with operated(session, operators):
        for allows, statements in (("true", with_ddl), ("false", without)):
            with operated(session, {DDL: allows}):
                for statement in statements:
                    found[statement] = tell(session, statement.replace("{home}", home))
    return found
