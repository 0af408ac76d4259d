# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel jar`."""

from __future__ import annotations


def jar() -> None:
    """Print the path of the jar, as in spark-submit --jars "$(sparkmodel jar)"."""
    from sparkmodel.spark.bridge import find_jar

    print(find_jar())
