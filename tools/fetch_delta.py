# SPDX-License-Identifier: Apache-2.0
"""Fetch Delta Lake, and the Spark that it is built for, for the tests of models in Delta tables.

`python tools/fetch_delta.py DIRECTORY` makes DIRECTORY/jars and DIRECTORY/site. What is there already is kept. Delta
Lake has no build for the Spark that the package is developed with; so the tests run the Spark of DIRECTORY/site.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

MAVEN = "https://repo1.maven.org/maven2/io/delta"
PYSPARK = "4.2.0"
JARS = {
    f"{MAVEN}/delta-spark_4.2_2.13/4.4.0/delta-spark_4.2_2.13-4.4.0.jar": (
        "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead"
    ),
    f"{MAVEN}/delta-storage/4.4.0/delta-storage-4.4.0.jar": (
        "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc"
    ),
}


def fetch_jar(url: str, checksum: str, directory: pathlib.Path) -> None:
    """Download one file, unless it is there; a part that an earlier try got is used."""
    target = directory / url.rsplit("/", 1)[1]
    if target.is_file() and sha256(target) == checksum:
        return
    part = target.with_suffix(".part")
    for _ in range(2):  # once more from the start, if the part is of no use
        download(url, part)
        if sha256(part) == checksum:
            part.rename(target)
            return
        part.unlink()
    sys.exit(f"Cannot fetch '{url}': the file has another checksum than expected.")


def download(url: str, part: pathlib.Path) -> None:
    """Get what is missing of a file."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with (
            urllib.request.urlopen(request, timeout=60) as answer,
            part.open("ab" if answer.status == 206 else "wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing
            return
        sys.exit(f"Cannot fetch '{url}': {error}.")
    except OSError as error:
        sys.exit(
            f"Cannot fetch '{url}': {error}. Hint: this needs Maven Central once; run it again when you are online."
        )


def fetch_pyspark(version: str, site: pathlib.Path) -> None:
    """Install a PySpark alone, beside the environment's own."""
    if (site / f"pyspark-{version}.dist-info" / "RECORD").is_file() and (site / "pyspark" / "jars").is_dir():
        return
    fresh = site.with_suffix(".part")
    shutil.rmtree(fresh, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(fresh)]
    if subprocess.run([*pip, f"pyspark=={version}"], check=False).returncode:
        sys.exit(f"Cannot install pyspark {version}: pip failed. Hint: run it again when you are online.")
    shutil.rmtree(site, ignore_errors=True)
    fresh.rename(site)


def sha256(path: pathlib.Path) -> str:
    """Hex checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(directory: str) -> None:
    """Fetch all."""
    jars = pathlib.Path(directory) / "jars"
    os.makedirs(jars, exist_ok=True)
    for url, checksum in JARS.items():
        fetch_jar(url, checksum, jars)
    fetch_pyspark(PYSPARK, pathlib.Path(directory) / "site")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: fetch_delta.py DIRECTORY")
    main(sys.argv[1])
