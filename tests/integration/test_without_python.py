# SPDX-License-Identifier: Apache-2.0
"""Executors, and whole programs, on machines where no Python is to be found."""

from __future__ import annotations

import os
import pathlib
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator

import pyspark
import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.spark.bridge import find_jar
from tests.integration.scripts import Script, end, free_port, wait_until

HOME = pathlib.Path(pyspark.__file__).parent
JAVA = pathlib.Path(str(shutil.which("java"))).resolve()
TOOLS = ("rm", "chmod", "bash", "ls", "id")  # Spark and Hadoop themselves call them

PROGRAM = """
    import os, signal, sys, threading, time
    import psutil
    from tests.integration.scripts import command_line
    import sparkmodel as sm
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    class Double:
        batches = 0

        def predict(self, data):
            self.batches += 1
            while self.batches > 30 and not os.path.exists("{killed}"):
                time.sleep(0.01)
            return data.iloc[:, 0] * 2.0

    def executors():
        found = psutil.Process({worker}).children()
        return [process for process in found if "CoarseGrainedExecutorBackend" in " ".join(command_line(process))]

    if __name__ == "__main__":
        builder = SparkSession.builder.master("{url}").config("spark.executor.cores", 1)
        spark = sm.configure_spark(builder.config("spark.executor.memory", "512m")).getOrCreate()
        sm.init(num_cpus=2, log_to_driver=False)
        model = sm.register(spark, "f", Double(), result_type="double", workers=2, num_cpus=0.5)
        assert spark.sql("SELECT sum(f(id)) AS s FROM range(0, 10000, 1, 4)").first().s == 10000 * 9999
        spark.conf.set("spark.sparkmodel.bridge.enabled", "false")
        try:
            spark.sql("SELECT sum(f(id)) AS s FROM range(10)").collect()
        except Exception as error:
            assert "python3" in str(error), error
            print("no python")
        spark.conf.set("spark.sparkmodel.bridge.enabled", "true")
        assert len(executors()) == 2, executors()
        done = []
        query = "SELECT sum(f(id)) AS s, count(f(id)) AS n FROM range(0, 2000000, 1, 40)"
        thread = threading.Thread(target=lambda: done.append(spark.sql(query).first()))
        before = model.stats()["batches"]
        thread.start()
        while model.stats()["batches"] < before + 10:
            time.sleep(0.02)
        executors()[0].kill()
        assert model.stats()["rows"] < 2000000, "the kill came too late to prove anything"
        open("{killed}", "w").close()
        thread.join(300)
        assert done and (done[0].s, done[0].n) == (2000000 * 1999999, 2000000), done
        while model.stats()["queued"]:
            time.sleep(0.05)
        sm.unregister(spark, "f")
        print("passed")
        spark.stop()
"""


@pytest.fixture
def no_python(tmp_path: pathlib.Path) -> dict[str, str]:
    """An environment whose PATH leads to a few tools and to no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    assert shutil.which("python3", path=str(folder)) is None
    return {
        "PATH": str(folder),
        "JAVA_HOME": str(JAVA.parents[1]),
        "SPARK_HOME": str(HOME),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SCALA_VERSION": "2.13",  # which spark-class would tell
        "JDK_JAVA_OPTIONS": os.environ["JDK_JAVA_OPTIONS"],  # of all JVMs of tests
    }


@pytest.fixture
def bare_cluster(tmp_path: pathlib.Path, no_python: dict[str, str]) -> Iterator[tuple[str, int]]:
    """A standalone cluster whose processes find no Python, and the process id of its worker."""
    port = free_port()

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"{name}.log").open("wb")
        command = [
            JAVA,
            "-Xmx256m",
            "-cp",
            f"{HOME}/jars/*",
            f"org.apache.spark.deploy.{name.lower()}.{name}",
            *arguments,
        ]
        return subprocess.Popen(command, cwd=tmp_path, env=no_python, stdout=log, stderr=log)

    ports = ["--webui-port", "0", "--host", "127.0.0.1"]
    url = f"spark://127.0.0.1:{port}"
    processes = [start("Master", "--port", str(port), *ports)]
    try:
        wait_until(lambda: "Starting Spark master" in (tmp_path / "Master.log").read_text())
        processes.append(
            start("Worker", url, "--cores", "2", "--memory", "2g", "--work-dir", str(tmp_path / "work"), *ports)
        )
        wait_until(lambda: "Registering worker" in (tmp_path / "Master.log").read_text())
        yield url, processes[1].pid
    finally:
        end(processes)


@pytest.mark.slow
@pytest.mark.fault("F12", "F13")
def test_executors_without_python_run_the_query_and_one_that_is_killed_costs_nothing(
    tmp_path: pathlib.Path, bare_cluster: tuple[str, int]
) -> None:
    url, worker = bare_cluster
    script = Script(
        PROGRAM.format(url=url, worker=worker, killed=tmp_path / "killed"), tmp_path, {"PYSPARK_PYTHON": "python3"}
    )
    assert script.finish().split("\n")[-3:] == ["no python", "passed", ""]


@pytest.mark.slow
def test_the_sql_shell_calls_a_model_without_any_python(
    tmp_path: pathlib.Path, spark: SparkSession, register: Callable[..., sm.Model], no_python: dict[str, str]
) -> None:
    model = register("tripled", lambda frame: frame.iloc[:, 0] * 3, result_type="bigint")
    file = tmp_path / "tripled.handle"
    model.save_handle(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    opens = str(spark.sparkContext._jvm.org.apache.spark.launcher.JavaModuleOptions.defaultModuleOptions()).split()
    settings = {
        "spark.sql.extensions": "io.sparkmodel.SparkModelExtensions",
        "spark.sparkmodel.handles": str(tmp_path),
        "spark.ui.enabled": "false",
        "spark.sql.catalogImplementation": "in-memory",
    }
    command = [
        str(JAVA),
        "-Xmx512m",
        *opens,
        "-cp",
        f"{find_jar()}:{HOME}/jars/*",
        "org.apache.spark.deploy.SparkSubmit",
    ]
    command += ["--master", "local[1]", *[part for k, v in settings.items() for part in ("--conf", f"{k}={v}")]]
    command += ["--class", "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver", "spark-internal"]
    query = "SELECT id, tripled(id) AS p FROM range(4) WHERE tripled(id) > 2 ORDER BY id"
    done = subprocess.run(
        [*command, "-e", query], cwd=tmp_path, env=no_python, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["1", "3", "2", "6", "3", "9"]
    assert model.stats()["rows"] == 4


def test_a_session_takes_a_handle_file_and_tells_of_one_that_is_none(
    tmp_path: pathlib.Path, spark: SparkSession, register: Callable[..., sm.Model]
) -> None:
    jvm = spark.sparkContext._jvm
    take = jvm.io.sparkmodel.Models.register
    file = tmp_path / "tripled.handle"
    register("tripled", lambda frame: frame.iloc[:, 0] * 3, result_type="bigint").save_handle(file)
    session = spark.newSession()  # which has no function of ours
    take(session._jsparkSession, "again", jvm.java.io.File(str(file)).toPath())
    assert session.sql("SELECT sum(again(id)) FROM range(4)").first()[0] == 18
    file.write_text("something else")
    with pytest.raises(
        Exception, match=r"\[INVALID_HANDLE\] Cannot register model 'f': it is not the text of a handle"
    ):
        take(session._jsparkSession, "f", jvm.java.io.File(str(file)).toPath())
    with pytest.raises(Exception, match=r"\[INVALID_HANDLE\] Cannot read handle '.*nowhere': .*NoSuchFile"):
        take(session._jsparkSession, "f", jvm.java.io.File(str(tmp_path / "nowhere")).toPath())
