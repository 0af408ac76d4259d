# SPDX-License-Identifier: Apache-2.0
"""Spark's own programs for SQL, each in a process of its own, with the bridge and without a Python driver."""

from __future__ import annotations

import itertools
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import psutil
import pyspark

from sparkmodel.spark.bridge import find_jar
from tests.integration.scripts import (
    PATIENCE_S,
    ROOT,
    command_line,
    free_port,
    scratch_directories,
    tagged,
    wait_until,
    with_suppress,
)
from tests.integration.test_lifecycle import other_scratch

HOME = pathlib.Path(pyspark.__file__).parent
SETTINGS = {
    "spark.sql.extensions": "io.sparkmodel.SparkModelExtensions",
    "spark.sparkmodel.python": sys.executable,
    "spark.ui.enabled": "false",
    "spark.sql.catalogImplementation": "in-memory",
}
FACTORS = """
import pathlib, time

class Two:
    def predict(self, frame):
        return frame["x"] * 2.0

class Three:
    def predict(self, frame):
        return frame["x"] * 3.0

class Raiser:
    def predict(self, frame):
        raise ValueError("no such wine")

class Endless:
    def __init__(self):
        pathlib.Path("{here}/loading").touch()
        time.sleep(600)

class SlowTwo:  # stands still after some batches until its successor is loaded
    batches = 0

    def predict(self, frame):
        self.batches += 1
        end = time.monotonic() + 300
        while self.batches > 5 and not pathlib.Path("{here}/loaded").exists() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        return frame["x"] * 2.0

class SlowThree:
    def __init__(self):
        pathlib.Path("{here}/loaded").touch()

    def predict(self, frame):
        return frame["x"] * 3.0
"""
PROMPT = re.compile(r"^(spark-sql \(.*?\)|\d: jdbc:\S+?)> ")
NOISE = re.compile(r"^(Time taken: .*|\d\d/\d\d/\d\d .*|NOTE: .*|WARNING: .*|)$")


def create(name: str, factor: str, more: str = "") -> str:
    """A statement that makes a small model of `factors`."""
    return (
        f"CREATE {more} MODEL {name} INPUT (x DOUBLE) RETURNS DOUBLE USING python LOCATION 'factors:{factor}' "
        "OPTIONS (num_cpus = 0.1)"
    )


class Program:
    """One of Spark's programs.

    Args:
        command: The program in PySpark's `bin`, and its arguments.
        cwd: Where it runs; it can import `factors` from there.
    """

    def __init__(self, command: Sequence[str], cwd: pathlib.Path) -> None:
        self.cwd = cwd
        (cwd / "factors.py").write_text(FACTORS.replace("{here}", str(cwd)))
        self.tag = f"{os.getpid()}-{time.monotonic_ns()}"
        self.before = scratch_directories()
        self.errors = cwd / f"errors-{self.tag}"
        environment = {
            **os.environ,
            "SPARK_HOME": str(HOME),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{cwd}",
            "SPARKMODEL_TEST_TAG": self.tag,
        }
        for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "RAY_ADDRESS"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [str(HOME / "bin" / command[0]), *command[1:]],
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors.open("wb"),
            start_new_session=True,
        )

    def family(self) -> list[psutil.Process]:
        """It and all that it has started, Ray's processes among them."""
        return tagged(self.tag)

    def control(self) -> list[psutil.Process]:
        """The control processes among them."""
        return [process for process in self.family() if command_line(process)[1:3] == ["-m", "sparkmodel.control"]]

    def assert_nothing_left(self) -> None:
        """No process of it is there any more, nor a directory."""
        wait_until(lambda: self.family() == [])
        wait_until(lambda: scratch_directories() <= self.before | other_scratch())

    def kill(self) -> None:
        """End it with all that it has started."""
        for process in self.family():
            with_suppress(process.kill)
        self.process.wait(PATIENCE_S)


class Client(Program):
    """A shell that takes statements one by one.

    Args:
        command: As for a program.
        cwd: Where it runs.
    """

    def __init__(self, command: Sequence[str], cwd: pathlib.Path) -> None:
        super().__init__(command, cwd)
        self._numbers = itertools.count(1)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._seen = 0
        threading.Thread(target=self._read, daemon=True).start()
        self.error = ""
        try:
            self.finish(self.begin())  # it is there now
        except BaseException:
            self.kill()
            raise

    def begin(self, *statements: str) -> str:
        """Send statements; returns what marks their end."""
        assert self.process.stdin is not None
        end = f"end-{next(self._numbers)}"
        for statement in [*statements, f"SELECT '{end}'"]:
            self.process.stdin.write(statement.replace("\n", " ").encode() + b";\n")
        self.process.stdin.flush()
        return end

    def finish(self, end: str, seconds: float = PATIENCE_S) -> list[list[str]]:
        """The rows up to a mark; what went wrong is kept as `error`."""
        rows = []
        while True:
            line = self._lines.get(timeout=seconds)
            assert line is not None, f"it has ended:\n{self.errors.read_text()[-5000:]}"
            if line == end:
                break
            if not PROMPT.match(line):
                rows.append(line.split("\t"))
        text = self.errors.read_bytes().decode()
        said, self._seen = text[self._seen :], len(text)
        self.error = "\n".join(line for line in said.splitlines() if not NOISE.match(line))
        return rows

    def rows(self, *statements: str) -> list[list[str]]:
        """The rows of statements of which none fails."""
        found = self.finish(self.begin(*statements))
        assert not self.error, self.error
        return found

    def failure(self, statement: str) -> str:
        """What is said of a statement that fails."""
        assert self.finish(self.begin(statement)) == []
        assert self.error, f"nothing was said of {statement}"
        return self.error

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def close(self) -> int:
        """End its input; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)


class SqlShell(Client):
    """`spark-sql`.

    Args:
        cwd: Where it runs.
        settings: On top of the usual ones.
    """

    def __init__(self, cwd: pathlib.Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(["spark-sql", *submitted({"spark.log.level": "ERROR", **SETTINGS, **(settings or {})})], cwd)


class Beeline(Client):
    """A JDBC client.

    Args:
        server: What it connects to.
        cwd: Where it runs.
    """

    def __init__(self, server: Server, cwd: pathlib.Path) -> None:
        url = f"jdbc:hive2://127.0.0.1:{server.port}/"
        quiet = ["--silent=true", "--showHeader=false", "--outputformat=tsv2", "--force=true"]
        super().__init__(["beeline", "-u", url, "-n", "analyst", *quiet], cwd)


class Server(Program):
    """A server that listens on a port of loopback.

    Args:
        cwd: Where it runs.
        main: Its class.
        port: The port.
        arguments: Further ones.
        settings: On top of the usual ones.
        ready: What it writes once it listens.
    """

    def __init__(
        self, cwd: pathlib.Path, main: str, port: int, arguments: Sequence[str], settings: Mapping[str, str], ready: str
    ) -> None:
        self.port = port
        options = submitted({**SETTINGS, **settings})
        super().__init__(["spark-submit", "--class", main, *options, *arguments, "spark-internal"], cwd)
        try:
            wait_until(lambda: ready in self.errors.read_text() or self.process.poll() is not None)
            assert self.process.poll() is None, self.errors.read_text()[-5000:]
        except AssertionError:
            self.kill()
            raise

    def stop(self) -> None:
        """End it as an operator does, and see that nothing is left."""
        try:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)
            self.assert_nothing_left()
        finally:
            self.kill()


def thrift_server(cwd: pathlib.Path, settings: Mapping[str, str] | None = None) -> Server:
    """Spark's JDBC server, whose metadata are in memory."""
    port = free_port()
    hive = {
        "hive.server2.thrift.port": str(port),
        "hive.server2.thrift.bind.host": "127.0.0.1",
        "javax.jdo.option.ConnectionURL": f"jdbc:derby:memory:{port};create=true",
    }
    arguments = [part for key, value in hive.items() for part in ("--hiveconf", f"{key}={value}")]
    main = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"
    return Server(cwd, main, port, arguments, settings or {}, "HiveThriftServer2 started")


def submitted(settings: Mapping[str, str]) -> list[str]:
    """Arguments of spark-submit."""
    settings = {"spark.driver.extraClassPath": str(find_jar()), "spark.driver.memory": "1g", **settings}
    return ["--master", "local[2]", *[part for k, v in settings.items() for part in ("--conf", f"{k}={v}")]]
