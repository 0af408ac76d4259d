# SPDX-License-Identifier: Apache-2.0
"""Compile the bridge with the Scala compiler among Spark's own jars: a JDK and pyspark are all it takes.

    python jvm-bridge/build.py [--output DIR] [--if-changed]

The jar is built against the Spark that is found: SPARK_HOME's, else that of the importable pyspark.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE / "src" / "main" / "scala"
PACKAGE = HERE.parent / "sparkmodel"
JARS = PACKAGE / "jars"
PROPERTIES = "sparkmodel-bridge.properties"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal sources make equal jars


class BuildError(Exception):
    """The jar cannot be built; the text says why and what to do."""


def spark_jars() -> pathlib.Path:
    """The directory of Spark's jars."""
    home = os.environ.get("SPARK_HOME")
    if home:
        found = pathlib.Path(home) / "jars"
    else:
        spec = importlib.util.find_spec("pyspark")
        if spec is None or spec.origin is None:
            raise BuildError(
                "[BUILD_FAILED] Cannot build the Spark bridge: no Spark in SPARK_HOME and no module pyspark. "
                "Hint: pip install pyspark first."
            )
        found = pathlib.Path(spec.origin).parent / "jars"
    if not list(found.glob("scala-compiler-*.jar")):
        raise BuildError(
            f"[BUILD_FAILED] Cannot build the Spark bridge: '{found}' has no scala-compiler jar. "
            "Hint: set SPARK_HOME to a full Spark distribution, or unset it to take pyspark's."
        )
    return found


def java() -> str:
    """The java to compile with."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(pathlib.Path(home) / "bin") if home else None)
    if found is None:
        raise BuildError(
            "[BUILD_FAILED] Cannot build the Spark bridge: no 'java' found in JAVA_HOME or PATH. "
            "Hint: install a JDK 17."
        )
    return found


def spark_version(jars: pathlib.Path) -> str:
    """Version of the Spark in a directory of jars."""
    for path in jars.glob("spark-sql_*.jar"):
        match = re.fullmatch(r"spark-sql_[\d.]+-(\d+\.\d+\.\d+.*)\.jar", path.name)
        if match:
            return match[1]
    raise BuildError(f"[BUILD_FAILED] Cannot build the Spark bridge: '{jars}' has no spark-sql jar.")


def build(output: pathlib.Path = JARS, if_changed: bool = False) -> pathlib.Path:
    """Compile all sources into the jar `sparkmodel-bridge.jar` of a directory; returns its path.

    Args:
        output: Where the jar goes.
        if_changed: Keep a jar that was built of the same sources, for the same Spark.
    """
    jars = spark_jars()
    version = runpy.run_path(str(PACKAGE / "version.py"))["__version__"]
    sources = sorted(SOURCES.rglob("*.scala"))
    digest = hashlib.sha256()
    for path in [pathlib.Path(__file__), *sources]:
        digest.update(path.resolve().relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes())
    properties = "".join(
        f"{key}={value}\n"
        for key, value in {"version": version, "spark": spark_version(jars), "sources": digest.hexdigest()}.items()
    )
    jar = output / "sparkmodel-bridge.jar"
    if if_changed and _properties(jar) == properties:
        return jar
    with tempfile.TemporaryDirectory(prefix="sparkmodel-build-") as scratch:
        classes = pathlib.Path(scratch) / "classes"
        classes.mkdir()
        _compile(sources, jars, classes)
        output.mkdir(parents=True, exist_ok=True)
        made = pathlib.Path(scratch) / "made.jar"
        _pack(classes, properties, version, made)
        target = jar.with_suffix(f".{os.getpid()}.tmp")
        shutil.copyfile(made, target)
        target.replace(jar)  # at once: another process may be reading the old one
    return jar


def _compile(sources: list[pathlib.Path], jars: pathlib.Path, classes: pathlib.Path) -> None:
    command = [java(), "-Xss8m", "-cp", f"{jars}/*", "scala.tools.nsc.Main", "-usejavacp"]
    command += ["-deprecation", "-feature", "-Werror", "-Wunused:imports,privates,locals", "-release", "17"]
    done = subprocess.run(
        [*command, "-d", str(classes), *map(str, sources)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(
            f"[BUILD_FAILED] Cannot build the Spark bridge: the Scala compiler says:\n{done.stdout}{done.stderr}"
        )


def _pack(classes: pathlib.Path, properties: str, version: str, jar: pathlib.Path) -> None:
    entries = {path.relative_to(classes).as_posix(): path.read_bytes() for path in classes.rglob("*.class")}
    entries[PROPERTIES] = properties.encode()
    manifest = (
        f"Manifest-Version: 1.0\r\nImplementation-Title: sparkmodel-bridge\r\nImplementation-Version: {version}\r\n\r\n"
    )
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [("META-INF/MANIFEST.MF", manifest.encode()), *sorted(entries.items())]:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)


def _properties(jar: pathlib.Path) -> str | None:
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.read(PROPERTIES).decode()
    except (OSError, KeyError, zipfile.BadZipFile):
        return None


def main(arguments: list[str] | None = None) -> int:
    """Build from the command line."""
    parser = argparse.ArgumentParser(description="Build sparkmodel's jar against the Spark that is installed.")
    parser.add_argument("--output", type=pathlib.Path, default=JARS, help="directory of the jar (default: %(default)s)")
    parser.add_argument("--if-changed", action="store_true", help="keep a jar of the same sources and Spark")
    options = parser.parse_args(arguments)
    try:
        print(build(options.output, options.if_changed))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
