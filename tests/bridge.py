# SPDX-License-Identifier: Apache-2.0
"""The bridge's jar and its test mains, built for the Spark that is installed, and a JVM that a test drives."""

from __future__ import annotations

import concurrent.futures
import fcntl
import hashlib
import importlib.util
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import types
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
TESTS = ROOT / "jvm-bridge" / "src" / "test" / "scala"
_KEPT = pathlib.Path(tempfile.gettempdir()) / f"sparkmodel-bridge-{os.getuid()}"
_DAY_S = 86400.0


def build_script() -> types.ModuleType:
    """jvm-bridge/build.py as a module."""
    spec = importlib.util.spec_from_file_location("bridge_build", ROOT / "jvm-bridge" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built() -> tuple[pathlib.Path, pathlib.Path]:
    """The jar of the checkout's sources and the directory of the test mains' classes.

    They are kept from run to run, for each state of the sources and each Spark, until a day goes by without their use.
    """
    script = build_script()
    jars: pathlib.Path = script.spark_jars()
    tests = sorted(TESTS.rglob("*.scala"))
    digest = hashlib.sha256(str(jars).encode())
    for path in [*sorted(script.SOURCES.rglob("*.scala")), *tests, ROOT / "sparkmodel" / "version.py"]:
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    home = _KEPT / digest.hexdigest()[:16]
    _KEPT.mkdir(exist_ok=True)
    with (_KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jar, classes = home / "sparkmodel-bridge.jar", home / "tests"
        if not classes.exists():
            home.mkdir(exist_ok=True)
            shipped = script.JARS / jar.name
            if shipped.exists():  # `make venv` has built it, most likely of these sources
                shutil.copyfile(shipped, jar)
            script.build(home, if_changed=True)
            _compile(script.java(), jars, jar, tests, classes)
        os.utime(home)
        for other in _KEPT.iterdir():
            if other.is_dir() and other.stat().st_mtime < time.time() - _DAY_S:
                shutil.rmtree(other)
    return jar, classes


def _compile(
    java: str, jars: pathlib.Path, jar: pathlib.Path, sources: list[pathlib.Path], classes: pathlib.Path
) -> None:
    made = classes.with_suffix(".new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    command = [java, "-Xss8m", "-cp", f"{jars}/*", "scala.tools.nsc.Main", "-usejavacp", "-classpath", str(jar)]
    command += ["-deprecation", "-feature", "-Werror", "-Wunused:imports,privates,locals", "-release", "17"]
    done = subprocess.run([*command, "-d", str(made), *map(str, sources)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    made.rename(classes)


def _class_path(jar: pathlib.Path, jars: pathlib.Path) -> list[str]:
    """As `spark-submit` makes it: only JVMs whose class path begins so can take the archive of its classes."""
    shipped = build_script().JARS / jar.name
    same = shipped.exists() and shipped.read_bytes() == jar.read_bytes()
    logging_first = map(str, jars.glob("slf4j-api-*.jar"))
    return [str(shipped if same else jar), str(jars.parent / "conf"), *logging_first, f"{jars}/*"]


class JvmError(Exception):
    """What a call threw in the JVM.

    Attributes:
        parts: The exception's class as `class`, its `message`, its `cause`, and the parts of a ModelException.
    """

    def __init__(self, parts: dict[str, Any]) -> None:
        super().__init__(parts["message"])
        self.parts = parts

    @property
    def condition(self) -> str:
        """The condition of a ModelException, else the class of the exception."""
        return str(self.parts.get("condition") or self.parts["class"])


class Jvm:
    """A JVM that runs a test main, which answers calls; a call is one line of JSON each way, and has its own thread."""

    def __init__(self, main: str, *options: str) -> None:
        jar, classes = built()
        script = build_script()
        path = os.pathsep.join([*_class_path(jar, script.spark_jars()), str(classes)])
        command = [script.java(), "-Xmx512m", "-Xss512k", "-cp", path, main]
        # Arrow's memory wants java.nio opened, as Spark's own launcher does it
        command[1:1] = ["--add-opens=java.base/java.nio=ALL-UNNAMED", *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._numbers = itertools.count(1)
        self._calls: dict[int, concurrent.futures.Future[Any]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, operation: str, **arguments: Any) -> concurrent.futures.Future[Any]:
        """Begin a call; the future has its number as `number`."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        assert self._process.stdin is not None
        with self._lock:
            future.number = next(self._numbers)  # type: ignore[attr-defined]
            self._calls[future.number] = future  # type: ignore[attr-defined]
            line = {"id": future.number, "op": operation, **arguments}  # type: ignore[attr-defined]
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
        return future

    def call(self, operation: str, timeout_s: float = 60.0, **arguments: Any) -> Any:
        """The result of a call.

        Raises:
            JvmError: it threw.
        """
        return self.start(operation, **arguments).result(timeout_s)

    def close(self) -> None:
        """End the JVM, which ends with its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            future = self._calls.pop(answer["id"])
            if "error" in answer:
                future.set_exception(JvmError(answer["error"]))
            else:
                future.set_result(answer.get("result"))
        for future in self._calls.values():
            future.set_exception(JvmError({"class": "JVM", "message": "the JVM has ended"}))
