# SPDX-License-Identifier: Apache-2.0
"""Fetch what tests need beside the environment: another Spark, and jars of other projects.

`python tools/fetch.py delta|spark41|kafka DIRECTORY` makes DIRECTORY/site, a PySpark alone, and DIRECTORY/jars. What is
there already is kept. Everything is named by its coordinates and comes through a client that each site configures in
its own way: pip, then Spark's own resolver (`--packages`), or Maven where that one does not get through.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence

BUILD = pathlib.Path(__file__).resolve().parents[1] / "jvm-bridge" / "build.py"
CLIENT_S = 900.0


@dataclasses.dataclass(frozen=True)
class Extra:
    """Something to fetch.

    Attributes:
        pyspark: Version of the PySpark; empty for none.
        jars: Coordinates, `group:artifact:version`, to SHA-256. What these depend on is not taken: name it if needed.
    """

    pyspark: str
    jars: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _listed(name: str) -> dict[str, str]:
    lines = pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return {coordinate: checksum for coordinate, checksum in map(str.split, lines)}


EXTRAS = {
    # Delta Lake has no build for the Spark that the package is developed with
    "delta": Extra(
        pyspark="4.2.0",
        jars={
            "io.delta:delta-spark_4.2_2.13:4.4.0": "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead",
            "io.delta:delta-storage:4.4.0": "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc",
        },
    ),
    # the oldest Spark that the bridge is tested with
    "spark41": Extra(pyspark="4.1.4"),
    # a broker, and what Spark reads it with
    "kafka": Extra(pyspark="", jars=_listed("kafka.txt")),
}


def by_spark(coordinates: Sequence[str], into: pathlib.Path) -> str:
    """Have spark-submit resolve packages; returns what it said."""
    build = runpy.run_path(str(BUILD))
    try:
        command = [build["java"](), "-cp", f"{build['spark_jars']()}/*", "org.apache.spark.deploy.SparkSubmit"]
    except build["BuildError"] as error:
        return str(error)
    command += ["--master", "local[1]", "--conf", f"spark.jars.ivy={into}", "--packages", ",".join(coordinates)]
    # some program has to run afterwards: one that prints its version and ends
    return _said([*command, "--class", "scala.tools.nsc.Main", "spark-internal", "-version"])


def by_maven(coordinates: Sequence[str], into: pathlib.Path) -> str:
    """Have Maven copy artifacts; returns what it said."""
    maven = shutil.which("mvn")
    if maven is None:
        return "There is no mvn on the PATH."
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy"
    command = [maven, "--batch-mode", "--quiet", goal, f"-DoutputDirectory={into}"]
    return "\n".join(_said([*command, f"-Dartifact={coordinate}"]) for coordinate in coordinates)


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"It had not ended after {CLIENT_S:g} s."
    return f"{done.stdout}\n{done.stderr}"


CLIENTS: dict[str, Callable[[Sequence[str], pathlib.Path], str]] = {"Spark's resolver": by_spark, "Maven": by_maven}


def fetch_jars(jars: Mapping[str, str], directory: pathlib.Path) -> None:
    """Fetch jars that are not there; whoever brings them, only files with the right checksum are taken."""
    directory.mkdir(parents=True, exist_ok=True)
    said = {}
    for client, resolve in CLIENTS.items():
        missing = [coordinate for coordinate in jars if not _is_there(directory / _file(coordinate), jars[coordinate])]
        if not missing:
            return
        with tempfile.TemporaryDirectory(prefix="sparkmodel-jars-") as scratch:
            said[client] = resolve(missing, pathlib.Path(scratch)).strip()
            for coordinate in missing:
                said[client] += _take(coordinate, jars[coordinate], pathlib.Path(scratch), directory)
    missing = [coordinate for coordinate in jars if not _is_there(directory / _file(coordinate), jars[coordinate])]
    if missing:
        reasons = "".join(f"\n{client} says:\n{text[-2000:]}" for client, text in said.items())
        sys.exit(f"Cannot fetch {', '.join(missing)}. Hint: run it again when you are online.{reasons}")


def _take(coordinate: str, checksum: str, scratch: pathlib.Path, directory: pathlib.Path) -> str:
    """Keep the right one of what a client brought; returns what is wrong, if it brought only others."""
    # Spark's resolver puts the group before the name
    found = sorted(scratch.rglob(f"*{_file(coordinate)}"))
    for path in found:
        if _sha256(path) == checksum:
            part = directory / f"{_file(coordinate)}.part"
            shutil.copyfile(path, part)
            part.replace(directory / _file(coordinate))
            return ""
    return f"\nThe file of {coordinate} has another checksum than expected." if found else ""


def _file(coordinate: str) -> str:
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"


def _is_there(path: pathlib.Path, checksum: str) -> bool:
    return path.is_file() and _sha256(path) == checksum


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch_pyspark(version: str, site: pathlib.Path) -> None:
    """Install a PySpark alone, beside the environment's own."""
    if (site / f"pyspark-{version}.dist-info" / "RECORD").is_file() and (site / "pyspark" / "jars").is_dir():
        return
    site.parent.mkdir(parents=True, exist_ok=True)
    fresh = site.with_suffix(".part")
    shutil.rmtree(fresh, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(fresh)]
    if subprocess.run([*pip, f"pyspark=={version}"], check=False).returncode:
        sys.exit(f"Cannot install pyspark {version}: pip failed. Hint: run it again when you are online.")
    shutil.rmtree(site, ignore_errors=True)
    fresh.rename(site)


def main(arguments: Sequence[str]) -> None:
    """Fetch all of one extra."""
    if len(arguments) != 2 or arguments[0] not in EXTRAS:
        sys.exit(f"usage: fetch.py {'|'.join(EXTRAS)} DIRECTORY")
    extra, directory = EXTRAS[arguments[0]], pathlib.Path(arguments[1])
    if extra.jars:
        fetch_jars(extra.jars, directory / "jars")
    if extra.pyspark:
        fetch_pyspark(extra.pyspark, directory / "site")


if __name__ == "__main__":
    main(sys.argv[1:])
