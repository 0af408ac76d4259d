# SPDX-License-Identifier: Apache-2.0
"""One Spark session and one local Ray for all tests of a run that want them."""

from __future__ import annotations

import fcntl
import logging
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.keeper import connection
from tests import canary, python_daemon

# The JVMs of tests live too short for what the second compiler does to pay: it takes two fifths of their time. To load
# Spark's classes from their jars takes the half of what is left: see tools/archive_classes.py. On two cores that others
# have work for too, the threads of a parallel collector cost more than they save.
CLASSES = pathlib.Path(sys.prefix) / "spark.jsa"
_JAVA_OPTIONS = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
if CLASSES.exists():  # a JVM with other jars would warn that it cannot use it
    _JAVA_OPTIONS += [f'"-XX:SharedArchiveFile={CLASSES}"', "-Xlog:disable", "-Xlog:all=error:stderr"]
os.environ.setdefault("JDK_JAVA_OPTIONS", " ".join(_JAVA_OPTIONS))
# A busy machine takes longer than the 30 seconds that Ray gives itself to start
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "300")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-reliability", action="store_true", help="write the table of docs/reliability.md at the end"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-reliability") and not hasattr(config, "workerinput"):  # of several processes one does
        from tests.faults import Outcomes

        config.pluginmanager.register(Outcomes())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several processes each has whole groups of tests, and the longest come first."""
    from tests.schedule import LongestFirst

    return LongestFirst(config, log)


# A user's secret: no process but this one and the JVM that it starts may have it
os.environ[canary.VARIABLE] = canary.VALUE


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A test that prints a secret fails."""
    outcome = yield
    canary.check_report(outcome.get_result())


@pytest.fixture(scope="session", autouse=True)
def secrets_in_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs that tests ran have logged holds no secret."""
    yield
    canary.check(canary.in_files(tmp_path_factory.getbasetemp()))


@pytest.fixture
def connect_port() -> Iterator[None]:
    """Keeps other processes from starting a Connect server meanwhile: all of them want the same port."""
    with (pathlib.Path(tempfile.gettempdir()) / f"sparkmodel-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def ray_runtime() -> Iterator[None]:
    """A local Ray with more logical CPUs than the machine has, so that pools of several tests find room."""
    sm.init(num_cpus=16, log_to_driver=False)
    yield
    scratch = connection.current().scratch
    found = [*canary.in_processes(str(scratch)), *canary.in_files(scratch)] if scratch is not None else []
    sm.shutdown()
    canary.check(found)


@pytest.fixture(scope="session")
def spark(ray_runtime: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    events = tmp_path_factory.mktemp("events")  # searched for secrets at the end
    session = (
        sm.configure_spark(SparkSession.builder)
        .master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.python.daemon.module", "tests.python_daemon")
        .config("spark.eventLog.enabled", "true")
        .config("spark.eventLog.compress", "false")
        .config("spark.eventLog.dir", events.as_uri())
        .config("spark.sparkmodel.allowInlineCode", "true")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def python_path(spark: SparkSession) -> Iterator[None]:
    """Queries go through Spark's Python workers meanwhile, as in a session without the bridge."""
    spark.conf.set("spark.sparkmodel.bridge.enabled", "false")
    yield
    spark.conf.unset("spark.sparkmodel.bridge.enabled")


@pytest.fixture(scope="module")
def mlflow_in_daemon(spark: SparkSession) -> Iterator[None]:
    """Spark's Python workers for functions that are made meanwhile have MLflow from their start."""
    spark.sparkContext.environment[python_daemon.ALSO] = "mlflow.pyfunc mlflow.pyfunc.model"
    yield
    del spark.sparkContext.environment[python_daemon.ALSO]


@pytest.fixture
def register(spark: SparkSession) -> Iterator[Callable[..., sm.Model]]:
    """`sm.register` in this session with small workers; what it registered is dropped at the end."""
    made: list[sm.Model] = []

    def register_(name: str, source: Any, **options: Any) -> sm.Model:
        model = sm.register(spark, name, source, **{"num_cpus": 0.5, **options})
        made.append(model)
        return model

    yield register_
    for model in made:
        model.drop()


@pytest.fixture(scope="module", autouse=True)
def registry_of_nobody() -> Iterator[None]:
    """A worker in a thread of this process pins MLflow's registry: the next module's is that of its store again."""
    before = os.environ.get("MLFLOW_REGISTRY_URI")
    yield
    mlflow.set_registry_uri(None)  # type: ignore[arg-type]
    if before is None:
        os.environ.pop("MLFLOW_REGISTRY_URI", None)  # MLflow keeps it there too


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A real MLflow tracking store and registry in SQLite."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    home = tmp_path_factory.mktemp("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("tests", artifact_location=(home / "a").as_uri()))
    # MLflow tells it to child processes, and to whoever uses another store in this one, where there is none of this ID
    del os.environ["MLFLOW_EXPERIMENT_ID"]
    return home
