# SPDX-License-Identifier: Apache-2.0
"""A Spark and a Ray over three hosts: driver, master and Ray's head on the first, workers and nodes on the others."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import pyspark

from tests.hosts import Host, wait_for

TOKEN = "5e" * 32
RAY = "6379"
_UP_S = 120.0
_SPARK_HOME = pathlib.Path(pyspark.__file__).parent
_RAY = str(pathlib.Path(sys.executable).with_name("ray"))
# what callers are told of a node: the first two as Ray knows them, then another address of the same link
ADVERTISED = {1: {}, 2: {"SPARKMODEL_BIND_HOST": "0.0.0.0"}, 3: {"SPARKMODEL_BIND_HOST": "::"}}

_DRIVER = """
import contextlib, json, os, sys, threading, time, traceback
import pandas as pd
import sparkmodel as sm
from pyspark.sql import SparkSession

class Double:
    # twice its argument; a line for each call tells the host's clock
    def __init__(self, pause_s=0.0):
        self.pause_s = pause_s

    def predict(self, data):
        time.sleep(self.pause_s)
        with open("/tmp/calls", "a") as file:
            print(time.time(), len(data), file=file)
        return data.iloc[:, 0] * 2.0

class Where:
    def predict(self, data):
        import socket
        return pd.Series([socket.gethostname()] * len(data))

answers, names = sys.stdout, dict(globals())
sys.stdout = sys.stderr
for line in sys.stdin:
    try:
        names["answer"] = None
        exec(json.loads(line), names)
        said = {"answer": names["answer"]}
    except BaseException:
        said = {"error": traceback.format_exc()}
    print(json.dumps(said), file=answers, flush=True)
"""

SESSION = """
builder = (
    sm.configure_spark(SparkSession.builder)
    .master("spark://10.77.0.1:7077")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "10.77.0.1")
    .config("spark.executor.memory", "512m")
    .config("spark.scheduler.minRegisteredResourcesRatio", "1.0")
    .config("spark.executor.cores", "2")
    .config("spark.cores.max", "4")
    .config("spark.driver.memory", "512m")
    .config("spark.sql.shuffle.partitions", "2")
)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")
"""


class Cluster:
    """All of it, up.

    Args:
        hosts: Three of them.
    """

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        first, second, third = hosts
        for host in hosts:
            (host.tmp / ".ray").mkdir(mode=0o700)
            token = host.tmp / ".ray" / "auth_token"
            token.touch(0o600)
            token.write_text(TOKEN)
        ray = ["--num-cpus", "1", "--object-store-memory", "80000000", "--block"]
        spark = {
            "SPARK_HOME": str(_SPARK_HOME),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_DAEMON_MEMORY": "128m",
        }
        self._ray(first, "--head", "--port", RAY, "--include-dashboard", "false", "--num-cpus", "0", *ray[2:])
        master = self._spark(first, spark, "master.Master", "--port", "7077")
        wait_for(lambda: "Ray runtime started" in first.log("ray.log"), "Ray's head", _UP_S)
        wait_for(lambda: "Starting Spark master" in first.log(master), "Spark's master", _UP_S)
        for host in (second, third):
            self._ray(host, "--address", f"{first.address}:{RAY}", *ray)
            self._spark(host, spark, "worker.Worker", "spark://10.77.0.1:7077", "--cores", "3", "--memory", "2g")
        wait_for(lambda: first.log(master).count("Registering worker") == 2, "Spark's workers", _UP_S)
        for host in (second, third):
            wait_for(lambda host=host: "Ray runtime started" in host.log("ray.log"), "a Ray node", _UP_S)

    @staticmethod
    def _ray(host: Host, *options: str) -> None:
        told = {**ADVERTISED[host.number]}
        if told:
            told["SPARKMODEL_ADVERTISE_HOST"] = host.other if host.number == 2 else host.other6
        env = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", **told}
        host.start("ray.log", _RAY, "start", "--node-ip-address", host.address, *options, env=env)

    @staticmethod
    def _spark(host: Host, env: dict[str, str], name: str, *options: str) -> str:
        where = ["--host", host.address, "--webui-port", "0"]
        work = ["--work-dir", "/tmp/work"] if name.startswith("worker") else []
        launcher = str(_SPARK_HOME / "bin" / "spark-class")
        host.start(f"{name}.log", launcher, f"org.apache.spark.deploy.{name}", *options, *where, *work, env=env)
        return f"{name}.log"

    def driver(self) -> Driver:
        """A driver with a session, connected to Ray."""
        return Driver(self.hosts[0])


class Driver:
    """A program on the first host that does what it is told."""

    def __init__(self, host: Host) -> None:
        (host.tmp / "driver.py").write_text(_DRIVER)
        env = {"PYSPARK_PYTHON": sys.executable}
        self._host = host
        self._process = host.start(
            "driver.log",
            sys.executable,
            "-W",
            "ignore",
            "/tmp/driver.py",
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.ask(f"sm.init('{host.address}:{RAY}')")
        self.ask(SESSION)

    def begin(self, code: str) -> None:
        """Have it run a program."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What the program has left as `answer`."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._host.log("driver.log")[-5000:]
        said = json.loads(line)
        assert "error" not in said, said["error"]
        return said["answer"]

    def ask(self, code: str) -> Any:
        """Both."""
        self.begin(code)
        return self.answer()

    def end(self) -> None:
        """It ends as a program does."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(60)


def cpu_s() -> float:
    """Seconds of all processors so far that were not idle, of the whole machine."""
    words = pathlib.Path("/proc/stat").read_text().split()[1:9]
    ticks = [int(word) for word in words]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
