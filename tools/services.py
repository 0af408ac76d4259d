# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server and a Kafka broker for tests: on loopback, in own directories, gone with who starts them.

`python tools/services.py fetch DIRECTORY` sees that PostgreSQL is there: the system's, or Debian's package unpacked.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import dataclasses
import importlib.util
import os
import pathlib
import pwd
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
POSTGRES_DIRECTORY = pathlib.Path(sys.prefix) / "postgresql"
KAFKA_JARS = pathlib.Path(sys.prefix) / "kafka" / "jars"
START_S = 120.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class ServiceError(Exception):
    """A service cannot be started; the message has the end of what it said."""


@dataclasses.dataclass
class Service:
    """A process that serves, as the leader of a group of its own.

    Attributes:
        port: On 127.0.0.1.
        uri: What the option `record` takes, for Kafka without a topic.
    """

    port: int
    uri: str
    _command: Sequence[str] = dataclasses.field(repr=False)
    _env: Mapping[str, str] = dataclasses.field(repr=False)
    _log: pathlib.Path = dataclasses.field(repr=False)
    _uid: int | None = dataclasses.field(repr=False)
    _is_up: Callable[[int], bool] = dataclasses.field(repr=False)
    _process: subprocess.Popen[bytes] | None = dataclasses.field(default=None, repr=False)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._env),
                cwd=self._log.parent,
                start_new_session=True,
                preexec_fn=lambda: _become(self._uid),
            )
        until = time.monotonic() + START_S
        while not self._is_up(self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                said = self._log.read_text(errors="replace")[-3000:]
                self.kill()
                raise ServiceError(f"Cannot start {self._command[0]}: it said\n{said}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and all of its processes at once, as a crash does."""
        if self._process is not None:
            children = _group(self._process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            until = time.monotonic() + 30
            while any(map(_lives, children)) and time.monotonic() < until:
                time.sleep(0.02)
            self._process = None


def _become(uid: int | None) -> None:
    """In the new process: another user, if one is named, and an end with the one that started it."""
    if uid is not None:
        os.setgid(pwd.getpwuid(uid).pw_gid)
        os.setgroups([])
        os.setuid(uid)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)  # PostgreSQL ends its children then, a JVM itself


def _group(leader: int) -> list[int]:
    """The processes of a session: PostgreSQL gives each of its children a group."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(stat.parent.name))
    return found


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def postgres_program(name: str) -> tuple[pathlib.Path, dict[str, str]]:
    """A program of PostgreSQL's server, and the environment that it needs."""
    debian = runpy.run_path(str(ROOT / "tools" / "debian.py"))
    path = debian["program"](name, "postgresql-15", POSTGRES_DIRECTORY)
    env = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
    if POSTGRES_DIRECTORY in path.parents:
        env["LD_LIBRARY_PATH"] = debian["library_path"](POSTGRES_DIRECTORY)
    return path.resolve(), env


@contextlib.contextmanager
def postgres() -> Iterator[Service]:
    """A PostgreSQL server with an empty database `calls`; whoever connects is trusted."""
    initdb, env = postgres_program("initdb")
    server, _ = postgres_program("postgres")
    uid = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
    home = pathlib.Path(tempfile.mkdtemp(prefix="sparkmodel-postgres-"))
    try:
        if uid is not None:
            os.chown(home, uid, -1)
        made = subprocess.run(
            [initdb, "-D", home / "data", "-U", "recorder", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale"],
            capture_output=True,
            text=True,
            env=env,
            cwd=home,
            preexec_fn=lambda: _become(uid),
            check=False,
        )
        if made.returncode:
            raise ServiceError(f"Cannot make a PostgreSQL database: {made.stdout[-1000:]}{made.stderr[-2000:]}")
        port = free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(home),
            "dynamic_shared_memory_type": "mmap",  # so that nothing stays in /dev/shm after a kill
            "shared_memory_type": "mmap",
            "shared_buffers": "16MB",
            "fsync": "off",
        }
        command = [str(server), "-D", str(home / "data"), *(f"--{key}={value}" for key, value in settings.items())]
        psql = shutil.which("pg_isready") or str(server.parent / "pg_isready")

        def is_up(port: int) -> bool:
            asked = [psql, "-q", "-h", "127.0.0.1", "-p", str(port)]
            return subprocess.run(asked, env=env, cwd=home, check=False, capture_output=True).returncode == 0

        uri = f"postgresql://recorder@127.0.0.1:{port}/postgres"
        service = Service(port, uri, command, env, home / "log", uid, is_up)
        try:
            service.start()
            yield service
        finally:
            service.kill()
    finally:
        shutil.rmtree(home)


@contextlib.contextmanager
def kafka() -> Iterator[Service]:
    """A Kafka broker that is its own controller; a topic is made when something is sent to it."""
    jars = sorted(KAFKA_JARS.glob("*.jar"))
    spark = importlib.util.find_spec("pyspark")
    if not jars or spark is None or spark.origin is None:
        raise ServiceError(f"Cannot start Kafka: {KAFKA_JARS} has no jars. Hint: run tools/fetch.py kafka.")
    java = shutil.which("java") or str(pathlib.Path(os.environ.get("JAVA_HOME", "")) / "bin" / "java")
    home = pathlib.Path(tempfile.mkdtemp(prefix="sparkmodel-kafka-"))
    try:
        port, controller = free_port(), free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(home / "data"),
            "auto.create.topics.enable": "true",
            "num.partitions": "2",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        properties = home / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        scala = (pathlib.Path(spark.origin).parent / "jars").glob(
            "scala-library*.jar"
        )  # the resolver leaves it to Spark
        classpath = ":".join(map(str, [*jars, *scala]))
        run = [java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", classpath]
        env = {"PATH": os.environ.get("PATH", ""), "HOME": str(home)}
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        formatted = [*run, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(properties)]
        made = subprocess.run(formatted, capture_output=True, text=True, env=env, check=False, timeout=START_S)
        if made.returncode:
            raise ServiceError(f"Cannot format Kafka's directory: {made.stdout[-1000:]}{made.stderr[-2000:]}")
        command = [*run, "kafka.Kafka", str(properties)]
        service = Service(port, f"kafka://127.0.0.1:{port}", command, env, home / "log", None, _accepts)
        try:
            service.start()
            yield service
        finally:
            service.kill()
    finally:
        shutil.rmtree(home)


def main(arguments: Sequence[str]) -> None:
    """See that PostgreSQL's server is there."""
    global POSTGRES_DIRECTORY
    if len(arguments) != 2 or arguments[0] != "fetch":
        sys.exit("usage: services.py fetch DIRECTORY")
    POSTGRES_DIRECTORY = pathlib.Path(arguments[1])
    try:
        postgres_program("postgres")
    except Exception as error:  # of a module that was run, not imported
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
