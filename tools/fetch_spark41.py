# SPDX-License-Identifier: Apache-2.0
"""Fetch the oldest Spark that the bridge is tested with.

`python tools/fetch_spark41.py DIRECTORY` makes DIRECTORY/site. What is there already is kept.
"""

from __future__ import annotations

import pathlib
import sys

from fetch_delta import fetch_pyspark

PYSPARK = "4.1.4"

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: fetch_spark41.py DIRECTORY")
    home = pathlib.Path(sys.argv[1])
    home.mkdir(parents=True, exist_ok=True)
    fetch_pyspark(PYSPARK, home / "site")
