# SPDX-License-Identifier: Apache-2.0
"""The jar of the bridge: where it is, how it gets into a session, and whether a session has it."""

from __future__ import annotations

import itertools
import logging
import os
import pathlib
import re
import shlex
from typing import TYPE_CHECKING, Any

from sparkmodel.errors import BridgeNotBuiltError, BridgeWrongSparkError
from sparkmodel.version import __version__

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)

EXTENSION = "io.sparkmodel.SparkModelExtensions"
_JARS = "spark.jars"
_CLASS_PATH = "spark.driver.extraClassPath"
_EXTENSIONS = "spark.sql.extensions"
_SETTING = "spark.sparkmodel.bridge.jar"  # BridgeVersion.scala sets it: sparkmodel's version and Spark's minor version
_ENABLED = "spark.sparkmodel.bridge.enabled"
_ON_PYTHON = "Until then queries run on the Python path."


def find_jar() -> pathlib.Path:
    """The jar that is installed with this package.

    Raises:
        BridgeNotBuiltError: there is none.
    """
    jar = pathlib.Path(__file__).resolve().parents[1] / "jars" / "sparkmodel-bridge.jar"
    if not jar.is_file():
        raise BridgeNotBuiltError(
            "Cannot find the bridge",
            f"there is no '{jar}'",
            "install a JDK 17, then sparkmodel again; in its sources jvm-bridge/build.py does it",
        )
    return jar


def add_to(builder: Any) -> None:
    """Put the jar and its extension into a session builder, beside what is there.

    The jar goes on the driver's class path, from where the extension hands it to executors: a `spark.jars` of the
    builder's would take the place of what `spark.jars.packages` brings to them. Only a Connect server on a cluster
    needs `spark.jars`: its sessions do not see what is added later.
    """
    options: dict[str, Any] = dict(builder._options)  # a builder has no public way to read what was set
    if options.get("spark.remote", os.environ.get("SPARK_REMOTE", "")).startswith("sc://"):
        return  # that server's jars are its own concern
    try:
        jar = str(find_jar())
    except BridgeNotBuiltError as error:
        _log.warning("%s %s", error, _ON_PYTHON)
        return
    running = _running_jvm()
    settings = {**(_defaults() if running is None else running), **options}
    if running is None:
        builder.config(_CLASS_PATH, _appended(settings.get(_CLASS_PATH), jar, os.pathsep))
        if _serves_connect_on_a_cluster(settings):
            builder.config(_JARS, _appended(settings.get(_JARS), jar, ","))
    elif not _has_extension():
        _log.warning(
            "Spark's JVM runs already and has no sparkmodel jar, so queries run on the Python path. "
            'Hint: start it with spark-submit --jars "$(sparkmodel jar)", or call configure_spark before the first '
            "session of the process."
        )
        return
    builder.config(_EXTENSIONS, _appended(settings.get(_EXTENSIONS), EXTENSION, ","))


def attach_control(port: int, token: str) -> None:
    """Tell a JVM that runs already, and has the bridge, which process does what SQL's statements ask for."""
    if _running_jvm() is not None and _has_extension():
        from pyspark import SparkContext

        jvm: Any = SparkContext._jvm
        jvm.io.sparkmodel.control.Control.attach(port, token)


def bridge_status(spark: SparkSession) -> str:
    """Whether a session, classic or Connect, has the bridge.

    Returns:
        `active`; `absent`, where the session was started without the jar; `wrong_spark`, where the jar is built for
        another minor version of Spark and stays out of the way.
    """
    found = spark.conf.get(_SETTING, "") or ""
    if not found:
        return "absent"
    return "active" if found.split()[1] == _minor(spark.version) else "wrong_spark"


def takes_bridge(spark: SparkSession) -> bool:
    """Whether the session's queries run without Python on the executors now."""
    enabled = str(spark.conf.get(_ENABLED, "true"))
    return bridge_status(spark) == "active" and enabled.strip().lower() == "true"


def warn_of_misfit(spark: SparkSession) -> None:
    """Log a warning if the session has a jar that cannot work, or that belongs to another release."""
    found = spark.conf.get(_SETTING, "") or ""
    if not found:
        return
    release, built_for = found.split()
    here = _minor(spark.version)
    if built_for != here:
        wrong = BridgeWrongSparkError(
            "Cannot use the bridge in this session",
            f"it is built for Spark {built_for}, this is {here}",
            "run 'pip install --no-build-isolation' for sparkmodel beside the pyspark that runs",
        )
        _log.warning("%s %s", wrong, _ON_PYTHON)
    elif release != __version__:
        _log.warning(
            "The session's bridge is of sparkmodel %s, this is %s: take the jar of this one", release, __version__
        )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _appended(present: str | None, item: str, separator: str) -> str:
    items = [part.strip() for part in (present or "").split(separator) if part.strip()]
    return separator.join(items if item in items else [*items, item])


def _running_jvm() -> dict[str, str] | None:
    """Settings of the JVM that this process has or was started by; None if there is none yet."""
    from pyspark import SparkConf, SparkContext

    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit started this process
        SparkContext._ensure_initialized()
    return None if SparkContext._jvm is None else dict(SparkConf().getAll())


def _serves_connect_on_a_cluster(settings: dict[str, Any]) -> bool:
    mode = settings.get("spark.api.mode", os.environ.get("SPARK_API_MODE", ""))
    return bool(mode.lower() == "connect" and not settings.get("spark.master", "local").startswith("local"))


def _has_extension() -> bool:
    from pyspark import SparkContext

    jvm: Any = SparkContext._jvm
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    return loader.getResource(EXTENSION.replace(".", "/") + ".class") is not None


def _defaults() -> dict[str, str]:
    """What the JVM to come is told by others than the builder, whose settings would replace these."""
    from pyspark.find_spark_home import _find_spark_home

    directory = os.environ.get("SPARK_CONF_DIR") or os.path.join(_find_spark_home(), "conf")
    file = pathlib.Path(directory) / "spark-defaults.conf"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():  # a Java properties file
        if match := re.match(r"\s*([^#!\s=:]+)\s*[\s=:]\s*(.*)", line):
            found[match[1]] = match[2].strip()
    for flag, value in itertools.pairwise(shlex.split(os.environ.get("PYSPARK_SUBMIT_ARGS", ""))):
        if flag in ("--conf", "-c"):
            key, _, setting = value.partition("=")
            found[key] = setting
    return found
