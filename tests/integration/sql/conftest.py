# SPDX-License-Identifier: Apache-2.0
"""An analyst's session, a registry, two models that many tests call, and the SQL shell."""

from __future__ import annotations

import pathlib
import pickle
from collections.abc import Callable, Iterator

import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature
from pyspark.sql import SparkSession
from sklearn.linear_model import LinearRegression

import sparkmodel as sm
from tests.integration.registered import log, of_code
from tests.integration.sql import locations
from tests.integration.sql.closed import answers
from tests.integration.sql.queries import LINE, Files, run
from tests.integration.sql.shells import SqlShell
from tests.integration.sql.telling import Told
from tests.integration.sql.wrong_uses import WITH_LOCATIONS, WITHOUT_DDL


@pytest.fixture(scope="session")  # the store is: for a second set-up there would be versions already
def registry(mlflow_store: pathlib.Path) -> str:
    """A registered model: version 1 multiplies by 10 and is the champion, version 2 by 100."""
    frame = pd.DataFrame({"a": [1.0, 3.0], "b": [2.0, 4.0]})
    signature = infer_signature(frame, frame["a"], params={"k": 0})
    for factor in (10.0, 100.0):
        log("sql_wine", of_code("wine.py", signature, factor=factor))
    mlflow.MlflowClient().set_registered_model_alias("sql_wine", "champion", "1")
    return "models:/sql_wine"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Files:
    """A pickle, a file that is none, an empty directory, and a saved model of Spark ML."""
    home = tmp_path_factory.mktemp("files")
    line = LinearRegression().fit([[1.0], [2.0], [4.0]], [3.0, 6.0, 12.0])
    (home / "line.pkl").write_bytes(pickle.dumps(line))
    (home / "broken.pkl").write_bytes(b"no pickle")
    (home / "empty").mkdir()
    return Files(home)


@pytest.fixture(scope="package")
def shared(spark: SparkSession, registry: str) -> Iterator[SparkSession]:
    """A session with views t (a, b, c), n (a is NULL once) and e (no rows), and the models `line` and `wine`."""
    before = set(sm.models())
    session = spark.newSession()
    run(session, "CREATE TEMPORARY VIEW t AS SELECT * FROM VALUES (1D, 2D, 'x'), (3D, 4D, 'y') AS t(a, b, c)")
    run(session, "CREATE TEMPORARY VIEW n AS SELECT * FROM VALUES (1D, 2D), (CAST(NULL AS DOUBLE), 4D) AS t(a, b)")
    run(session, "CREATE TEMPORARY VIEW e AS SELECT * FROM t WHERE a > 5")
    run(session, f"CREATE MODEL line {LINE}")
    run(session, f"CREATE MODEL wine LOCATION '{registry}@champion' OPTIONS (num_cpus = 0.1)")
    yield session
    for name in set(sm.models()) - before:
        run(session, f"DROP MODEL {name} FORCE")


@pytest.fixture(scope="package")
def closed_home(tmp_path_factory: pytest.TempPathFactory, files: Files) -> str:
    """The directory that `closed` allows."""
    home = tmp_path_factory.mktemp("closed")
    (home / "line.pkl").write_bytes(pathlib.Path(files.pickle).read_bytes())
    return str(home)


@pytest.fixture(scope="package")
def closed(closed_home: str, shared: SparkSession) -> dict[str, Told | None]:
    """What an application with allowed locations, and one without model DDL, say to statements."""
    with_ddl = [*locations.WITH_DDL, *(use.statement for use in WITH_LOCATIONS)]
    without = [*locations.WITHOUT, *(use.statement for use in WITHOUT_DDL)]
    return answers(shared, closed_home, with_ddl, without)


@pytest.fixture
def session(spark: SparkSession, registry: str) -> Iterator[SparkSession]:
    """A session of its own; the models that a test leaves are dropped."""
    before = set(sm.models())
    session = spark.newSession()
    yield session
    for name in set(sm.models()) - before:
        sm.get(name).drop()


@pytest.fixture
def shell(tmp_path: pathlib.Path) -> Iterator[Callable[..., SqlShell]]:
    """Starts a `spark-sql` with settings on top of the usual ones."""
    made: list[SqlShell] = []

    def start(**settings: str) -> SqlShell:
        made.append(SqlShell(tmp_path, {key.replace("__", "."): value for key, value in settings.items()}))
        return made[-1]

    yield start
    for program in made:
        program.kill()
