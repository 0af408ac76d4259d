# SPDX-License-Identifier: Apache-2.0
"""What does not fit together: each case is there for real, but for a Python of another version."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.doctor import facts
from sparkmodel.doctor.finding import FAIL, OK, WARN
from sparkmodel.doctor.scene import Scene
from sparkmodel.doctor.versions import check_jar, check_java, check_packages, check_python, check_requirements
from sparkmodel.errors import BridgeNotBuiltError

ROOT = pathlib.Path(__file__).parents[3]


def installed(site: pathlib.Path, name: str, version: str) -> None:
    """As pip leaves it."""
    (site / f"{name}-{version}.dist-info").mkdir(parents=True)
    (site / f"{name}-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )


def java_that_says(directory: pathlib.Path, text: str) -> str:
    """A JAVA_HOME."""
    (directory / "bin").mkdir(parents=True)
    java = directory / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    java.chmod(0o755)
    return str(directory)


def test_another_python_fails_where_it_is(scene: Callable[..., Scene], facts_of: Callable[..., dict[str, Any]]) -> None:
    seen = scene(
        executors={"executor a": facts_of(python="3.11.2"), "executor b": facts_of(python="3.12.0")},
        nodes={"node c": facts_of(python="3.10.9")},
    )
    found = [(finding.place, finding.status) for finding in check_python(seen)]
    assert found == [("here", OK), ("executor a", OK), ("executor b", FAIL), ("node c", FAIL)]


def test_packages_of_another_environment(scene: Callable[..., Scene], tmp_path: pathlib.Path) -> None:
    """The text of `facts` runs as on an executor: in a Python that has other packages, and no sparkmodel."""
    installed(tmp_path, "pyarrow", "1.0.0")
    code = "import json, sys; sys.path.insert(0, sys.argv[1]); exec(sys.stdin.read()); print(json.dumps(collect([])))"
    source = pathlib.Path(facts.__file__).read_text()
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env=environment,
    )
    there = json.loads(done.stdout)
    there["packages"]["sparkmodel"] = None
    here = {name: facts.version(name) for name in facts.PACKAGES}
    seen = scene({"packages": here}, executors={"executor": there}, nodes={"node": there})
    found = {(finding.place, finding.status): finding for finding in check_packages(seen)}
    assert "sparkmodel is not installed" in found["executor", FAIL].fact
    assert "the bridge" in found["executor", FAIL].hint
    assert "the bridge" not in found["node", FAIL].hint
    assert found["node", WARN].fact == f"pyarrow is 1.0.0, but {here['pyarrow']} here"


def test_a_package_that_sparkmodel_is_not_for(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    installed(tmp_path, "pyarrow", "1.0.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = check_requirements(Scene(here={}))
    assert (found.status, "pyarrow is 1.0.0" in found.fact) == (FAIL, True)


@pytest.mark.parametrize(
    ("says", "status", "fact"),
    [
        ('openjdk version "17.0.2" 2022-01-18', OK, "17.0.2"),
        ('openjdk version "21" 2023-09-19', OK, "21"),
        ('openjdk version "11.0.2" 2018-10-16', FAIL, "Spark would take 11.0.2"),
        ('java version "1.8.0_281"', FAIL, "Spark would take 1.8.0_281"),
        ("no such thing", FAIL, "does not run: no such thing"),
    ],
)
def test_the_java_that_spark_would_take(
    scene: Callable[..., Scene],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    says: str,
    status: str,
    fact: str,
) -> None:
    monkeypatch.setenv("JAVA_HOME", java_that_says(tmp_path, says))
    (found,) = check_java(scene({"java": facts.java()}))
    assert (found.status, fact in found.fact) == (status, True), found


def test_no_java_at_all(scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = check_java(scene({"java": facts.java()}))
    assert (found.status, found.hint) == (FAIL, "install a JDK 17")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    (found,) = check_java(scene({"java": facts.java()}))
    assert found.status == FAIL
    assert "No such file" in found.fact


def test_a_jar_for_another_spark_or_release(scene: Callable[..., Scene], tmp_path: pathlib.Path) -> None:
    jar = tmp_path / "bridge.jar"

    def packed(text: str) -> None:
        with zipfile.ZipFile(jar, "w") as file:
            file.writestr("sparkmodel-bridge.properties", text)

    def found() -> tuple[str, str]:
        (finding,) = check_jar(scene(), jar)
        return finding.status, finding.fact

    packed("version=1.2.3\nspark=1.2.9\n")
    assert found()[0] == OK
    packed("version=1.2.3\nspark=3.5.1\n")
    assert found()[0] == WARN
    assert "built for Spark 3.5.1, pyspark here is 1.2.3" in found()[1]
    packed("version=0.9\nspark=1.2.3\n")
    assert "is of sparkmodel 0.9, this is 1.2.3" in found()[1]
    jar.write_bytes(b"half a jar")
    assert found()[0] == FAIL


def test_no_jar(scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> pathlib.Path:
        raise BridgeNotBuiltError("Cannot find the bridge", "there is no jar", "install a JDK 17")

    monkeypatch.setattr("sparkmodel.doctor.versions.find_jar", missing)
    (found,) = check_jar(scene())
    assert (found.status, found.hint) == (WARN, "install a JDK 17")
