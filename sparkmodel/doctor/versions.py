# SPDX-License-Identifier: Apache-2.0
"""Python, packages, Java and the jar: whether they are there, and fit each other."""

from __future__ import annotations

import importlib.metadata
import pathlib
import zipfile
from collections.abc import Iterator

from packaging.requirements import Requirement

from sparkmodel.doctor import facts
from sparkmodel.doctor.finding import FAIL, HERE, OK, WARN, Finding
from sparkmodel.doctor.scene import Scene
from sparkmodel.errors import BridgeNotBuiltError
from sparkmodel.spark.bridge import find_jar

_JAVA = 17
_PROPERTIES = "sparkmodel-bridge.properties"
_SAME = ("sparkmodel", "ray")  # what must be the same everywhere it is; others may differ, and should not


def check_python(scene: Scene) -> Iterator[Finding]:
    """The same minor version everywhere: what is pickled in one is not read in another."""
    here = str(scene.here["python"])
    yield Finding("python", OK, f"{here} ({scene.here['executable']})")
    for place, told in scene.others():
        there = str(told["python"])
        if there.split(".")[:2] == here.split(".")[:2]:
            yield Finding("python", OK, f"{there} ({told['executable']})", place=place)
        else:
            hint = (
                "set PYSPARK_PYTHON to the same Python on all executors"
                if place in scene.executors
                else "run Ray's nodes and this program with the same minor version of Python"
            )
            yield Finding("python", FAIL, f"{there}, but {here} here", hint, place)


def check_packages(scene: Scene) -> Iterator[Finding]:
    """What is installed here, and whether the other places have the same."""
    here = scene.here["packages"]
    yield Finding("packages", OK, ", ".join(f"{name} {version}" for name, version in here.items() if version))
    for place, told in scene.others():
        there, wrong = told["packages"], []
        needed = ("sparkmodel", "pyarrow") if place in scene.executors else ("sparkmodel", "pyarrow", "ray")
        for name, version in there.items():
            if version is None:
                if name in needed:
                    hint = f"install {name} {here[name] or ''}".strip() + " there"
                    if place in scene.executors:
                        hint += ", or put the bridge into the session: executors need no Python then"
                    wrong.append(Finding("packages", FAIL, f"{name} is not installed", hint, place))
            elif here[name] is not None and version != here[name]:
                status = FAIL if name in _SAME and place in scene.nodes else WARN
                fact = f"{name} is {version}, but {here[name]} here"
                wrong.append(Finding("packages", status, fact, f"install {name} {here[name]} there", place))
        yield from wrong or [Finding("packages", OK, "the same as here", place=place)]


def check_requirements(scene: Scene) -> Iterator[Finding]:
    """Whether what sparkmodel needs is installed in versions that it is for."""
    try:
        lines = importlib.metadata.requires("sparkmodel") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("requirements", WARN, "sparkmodel is on the path, but not installed", "install it with pip")
        return
    needed = [r for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = []
    for requirement in needed:
        version = facts.version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            fact = f"{requirement.name} is {version or 'not installed'}, sparkmodel is for '{requirement}'"
            wrong.append(Finding("requirements", FAIL, fact, f"run: pip install '{requirement}'"))
    yield from wrong or [Finding("requirements", OK, f"the {len(needed)} packages that sparkmodel needs are there")]


def check_java(scene: Scene) -> Iterator[Finding]:
    """A Java that Spark 4 runs on. Nodes of Ray need none."""
    for place, told in scene.places():
        if place in scene.nodes:
            continue
        java = told["java"]
        named = "JAVA_HOME" if java["home"] else "PATH"
        if not java["path"]:
            yield Finding("java", FAIL, "neither JAVA_HOME nor PATH has a java", "install a JDK 17", place)
        elif not java["version"]:
            fact = f"'{java['path']}' (by {named}) does not run: {java['error']}"
            yield Finding("java", FAIL, fact, f"let {named} name a JDK 17", place)
        elif _major(java["version"]) < _JAVA:
            fact = f"Spark would take {java['version']}, '{java['path']}' by {named}; it needs {_JAVA}"
            yield Finding("java", FAIL, fact, f"let {'JAVA_HOME' if place == HERE else named} name a JDK 17", place)
        else:
            yield Finding("java", OK, f"{java['version']} ('{java['path']}' by {named})", place=place)


def _major(version: str) -> int:
    parts = version.split(".")
    first = parts[1] if parts[0] == "1" and len(parts) > 1 else parts[0]
    digits = "".join(c for c in first if c.isdigit())
    return int(digits or 0)


def check_jar(scene: Scene, jar: pathlib.Path | None = None) -> Iterator[Finding]:
    """The bridge: built, and for this Spark and this release."""
    spark, release = scene.here["packages"]["pyspark"], scene.here["packages"]["sparkmodel"]
    again = "run: pip install --no-build-isolation for sparkmodel, beside the pyspark that runs"
    try:
        jar = jar or find_jar()
        with zipfile.ZipFile(jar) as file:
            lines = file.read(_PROPERTIES).decode().splitlines()
    except BridgeNotBuiltError as error:
        yield Finding("jar", WARN, f"{error.args[1]}: queries take the Python path", str(error.args[2]))
        return
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        yield Finding("jar", FAIL, f"'{jar}' cannot be read: {error}", again)
        return
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    built_for, built_as = told.get("spark", ""), told.get("version", "")
    if spark is not None and built_for.split(".")[:2] != spark.split(".")[:2]:
        fact = f"'{jar}' is built for Spark {built_for}, pyspark here is {spark}: queries take the Python path"
        yield Finding("jar", WARN, fact, again)
    elif release is not None and built_as != release:
        yield Finding("jar", WARN, f"'{jar}' is of sparkmodel {built_as}, this is {release}", again)
    else:
        yield Finding("jar", OK, f"'{jar}' for Spark {built_for}")
