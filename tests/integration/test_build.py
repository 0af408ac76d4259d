# SPDX-License-Identifier: Apache-2.0
"""The jar: built when the package is installed, shipped in wheels, put into sessions, and checked against their Spark.

Everything runs on a copy of the sources that is installed in an environment of its own.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping

import pytest

from sparkmodel.version import __version__
from tests.integration.build_scripts import POOL, STATEMENTS, session, with_jar
from tests.integration.scripts import ROOT, Script

SPARK41 = pathlib.Path(sys.prefix) / "spark41" / "site"
JAR = pathlib.PurePath("sparkmodel") / "jars" / "sparkmodel-bridge.jar"
NO_JAVA = {"PATH": "", "JAVA_HOME": None}


class Installed:
    """A copy of the sources, and an environment that has this one's packages but for sparkmodel."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home = home
        self.sources = home / "sources"
        leave = shutil.ignore_patterns("jars", "__pycache__")
        for folder in ("sparkmodel", "jvm-bridge"):
            shutil.copytree(ROOT / folder, self.sources / folder, ignore=leave)
        for file in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / file, self.sources)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "env")], check=True)
        self.python = str(home / "env" / "bin" / "python")
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        outer = pathlib.Path(self.run("-c", code).stdout.strip()) / "outer.pth"
        outer.write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))

    def run(
        self, *arguments: str, env: Mapping[str, str | None] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run its Python outside of the sources."""
        merged = {**os.environ, "PYTHONPATH": None, **(env or {})}
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.home,
            env={key: value for key, value in merged.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def pip(
        self, *arguments: str, env: Mapping[str, str | None] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run pip without build isolation, which would download Spark once more."""
        return self.run("-m", "pip", *arguments, "--no-build-isolation", "--no-deps", env=env, check=check)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The sources before anything was built."""
    return Installed(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="module")
def installed(fresh: Installed) -> Installed:
    """The sources in an editable install."""
    fresh.pip("install", "--editable", str(fresh.sources))
    return fresh


@pytest.fixture(scope="module")
def spark41() -> Mapping[str, str | None]:
    """Variables that make Spark 4.1 the one that runs."""
    if not SPARK41.is_dir():
        pytest.fail(f"Spark 4.1 is not there: run `python tools/fetch.py spark41 {SPARK41.parent}`")
    return {"PYTHONPATH": str(SPARK41), "SPARK_HOME": str(SPARK41 / "pyspark")}


@pytest.fixture(scope="module")
def jar41(installed: Installed, spark41: Mapping[str, str | None]) -> pathlib.Path:
    """The jar, built for Spark 4.1."""
    output = installed.home / "jar41"
    installed.run(str(installed.sources / "jvm-bridge" / "build.py"), "--output", str(output), env=spark41)
    return output / JAR.name


def properties(jar: pathlib.Path) -> dict[str, str]:
    with zipfile.ZipFile(jar) as archive:
        text = archive.read("sparkmodel-bridge.properties").decode()
    return dict(line.split("=", 1) for line in text.splitlines())


# The first two come before anything is built: pytest keeps the order of a file.


def test_without_a_jdk_the_build_and_pip_say_what_to_do(fresh: Installed) -> None:
    said = "[BUILD_FAILED] Cannot build the Spark bridge: no 'java' found in JAVA_HOME or PATH. Hint: install a JDK 17."
    build = fresh.run(str(fresh.sources / "jvm-bridge" / "build.py"), env=NO_JAVA, check=False)
    assert build.returncode == 1
    assert build.stderr.strip() == said
    pip = fresh.pip("install", "--editable", str(fresh.sources), env=NO_JAVA, check=False)
    assert pip.returncode != 0
    assert said in pip.stdout + pip.stderr
    assert not (fresh.sources / JAR).exists()


def test_the_command_says_that_there_is_no_jar(fresh: Installed) -> None:
    for env in ({"PYTHONPATH": str(fresh.sources)}, {"PYTHONPATH": str(fresh.sources), **NO_JAVA}):
        done = fresh.run("-m", "sparkmodel", "jar", env=env, check=False)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("[BRIDGE_NOT_BUILT] Cannot find the bridge: there is no '")


def test_a_build_without_spark_says_what_to_do(fresh: Installed, tmp_path: pathlib.Path) -> None:
    build = str(fresh.sources / "jvm-bridge" / "build.py")
    empty = fresh.run(build, env={"SPARK_HOME": str(tmp_path)}, check=False)
    assert empty.returncode == 1
    assert f"'{tmp_path}/jars' has no scala-compiler jar. Hint: set SPARK_HOME" in empty.stderr
    bare = fresh.run("-S", build, env={"SPARK_HOME": None}, check=False)  # -S: without anything that is installed
    assert bare.returncode == 1
    assert "no Spark in SPARK_HOME and no module pyspark. Hint: pip install pyspark first." in bare.stderr


@pytest.mark.slow
def test_a_jar_is_built_anew_when_its_sources_change(fresh: Installed, tmp_path: pathlib.Path) -> None:
    """On a bridge of one class, which takes less time."""
    shutil.copytree(fresh.sources / "jvm-bridge", tmp_path / "jvm-bridge", ignore=shutil.ignore_patterns("*.scala"))
    (tmp_path / "sparkmodel").mkdir()
    shutil.copy(fresh.sources / "sparkmodel" / "version.py", tmp_path / "sparkmodel")
    source = tmp_path / "jvm-bridge" / "src" / "main" / "scala" / "One.scala"
    source.parent.mkdir(parents=True, exist_ok=True)
    jar = tmp_path / JAR

    def build(text: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        source.write_text(text)
        return fresh.run(str(tmp_path / "jvm-bridge" / "build.py"), "--if-changed", check=check)

    assert build("class One").stdout.strip() == str(jar)
    first = jar.stat().st_ino
    build("class One")
    assert jar.stat().st_ino == first
    failed = build("class One {", check=False)
    assert failed.returncode == 1
    assert "the Scala compiler says:" in failed.stderr
    assert "One.scala:1: error: '}' expected" in failed.stderr
    assert jar.stat().st_ino == first
    build("class Two")
    with zipfile.ZipFile(jar) as archive:
        assert [name for name in archive.namelist() if name.endswith(".class")] == ["Two.class"]


@pytest.mark.slow
def test_an_editable_install_builds_the_jar_and_has_the_command(installed: Installed) -> None:
    jar = installed.sources / JAR
    assert properties(jar)["version"] == __version__
    command = pathlib.Path(installed.python).with_name("sparkmodel")
    said = subprocess.run([str(command), "jar"], capture_output=True, text=True, timeout=600, check=True).stdout
    assert said == f"{jar}\n"
    assert installed.run("-m", "sparkmodel", "jar").stdout == said
    assert installed.run("-m", "sparkmodel", "--version").stdout == f"sparkmodel {__version__}\n"
    assert "print the path of the jar" in installed.run("-m", "sparkmodel", "--help").stdout
    assert installed.run("-m", "sparkmodel", check=False).returncode == 2


@pytest.mark.slow
def test_a_wheel_made_from_an_sdist_has_one_jar_of_its_own_version(installed: Installed) -> None:
    code = "import os, sys, setuptools.build_meta as b; os.chdir(sys.argv[1]); print(b.build_sdist(sys.argv[2]))"
    out = installed.home / "dist"
    name = installed.run("-c", code, str(installed.sources), str(out)).stdout.splitlines()[-1]
    with tarfile.open(out / name) as archive:
        names = archive.getnames()
    assert any(entry.endswith("/BridgeVersion.scala") for entry in names)
    assert not [entry for entry in names if entry.endswith(".jar")]

    installed.pip("wheel", "--wheel-dir", str(out), str(out / name))
    (wheel,) = out.glob("*.whl")
    assert wheel.name == f"sparkmodel-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert [entry for entry in archive.namelist() if entry.endswith(".jar")] == [str(JAR)]
        archive.extract(str(JAR), out)
    assert properties(out / JAR)["version"] == __version__
    assert (out / JAR).read_bytes() == (installed.sources / JAR).read_bytes(), "equal sources make equal jars"


CONFIGURED = """
    import logging, os, pathlib, sys
    logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stdout)
    import sparkmodel as sm
    from pyspark.sql import SparkSession
    from sparkmodel.spark.bridge import find_jar

    CLASS_PATH, EXTENSIONS, JARS = "spark.driver.extraClassPath", "spark.sql.extensions", "spark.jars"
    OURS, JAR = "io.sparkmodel.SparkModelExtensions", str(find_jar())

    def configured(builder, **options):
        found = sm.configure_spark(builder, **options)._options
        return {key: found.get(key) for key in (CLASS_PATH, EXTENSIONS, JARS)}

    def new():
        return SparkSession.Builder()

    plain = {CLASS_PATH: JAR, EXTENSIONS: OURS, JARS: None}
    assert configured(new()) == plain
    assert configured(new(), bridge=False) == dict.fromkeys(plain)
    assert configured(new().master("local[2]")) == configured(new().remote("local[2]")) == plain
    assert configured(sm.configure_spark(new())) == plain, "twice"
    assert configured(new().remote("sc://host")) == dict.fromkeys(plain)

    own = new().config(EXTENSIONS, "a.A, b.B").config(CLASS_PATH, "/x.jar").config(JARS, "/y.jar")
    assert configured(own) == {CLASS_PATH: "/x.jar:" + JAR, EXTENSIONS: "a.A,b.B," + OURS, JARS: "/y.jar"}
    connect = new().config("spark.api.mode", "connect").master("spark://host:7077").config(JARS, "/y.jar")
    assert configured(connect) == {CLASS_PATH: JAR, EXTENSIONS: OURS, JARS: "/y.jar," + JAR}

    pathlib.Path("spark-defaults.conf").write_text(
        "# spark.sql.extensions no.No\\n"
        "spark.sql.extensions   a.A,\\\\\\n    b.B  \\n"
        "spark.driver.extraClassPath=/x.jar\\n"
    )
    os.environ["SPARK_CONF_DIR"] = os.getcwd()
    assert configured(new()) == {CLASS_PATH: "/x.jar:" + JAR, EXTENSIONS: "a.A,b.B," + OURS, JARS: None}
    assert configured(new().config(EXTENSIONS, "c.C"))[EXTENSIONS] == "c.C," + OURS, "as Spark itself prefers it"
    os.environ["PYSPARK_SUBMIT_ARGS"] = "--conf spark.sql.extensions=d.D pyspark-shell"
    assert configured(new())[EXTENSIONS] == "d.D," + OURS

    find_jar().rename("aside")
    assert configured(new()) == dict.fromkeys(plain)
    pathlib.Path("aside").rename(JAR)
"""


@pytest.mark.slow
def test_configure_spark_keeps_what_is_set_already(installed: Installed, tmp_path: pathlib.Path) -> None:
    environment = {"PYTHONPATH": None, "SPARK_CONF_DIR": None, "PYSPARK_SUBMIT_ARGS": None}
    out = Script(CONFIGURED, tmp_path, environment, installed.python).finish()
    assert out.count("\n") == 1, "one warning, for the jar that was put aside"
    assert out.startswith("[BRIDGE_NOT_BUILT] Cannot find the bridge: ")
    assert out.endswith(" Until then queries run on the Python path.\n")


@pytest.mark.slow
def test_the_jar_for_spark_4_1_works_with_it(
    installed: Installed, jar41: pathlib.Path, spark41: Mapping[str, str | None], tmp_path: pathlib.Path
) -> None:
    builder = with_jar(jar41) + '.config("spark.sparkmodel.allowInlineCode", "true")'
    code = session(builder, POOL + STATEMENTS, bridge=False)
    out = Script(code, tmp_path, spark41, installed.python).finish()
    assert out.splitlines() == ["spark 4.1 active", "bridge", "statements"]


@pytest.mark.slow
def test_a_jar_for_a_newer_spark_stays_out_of_the_way(
    installed: Installed, spark41: Mapping[str, str | None], tmp_path: pathlib.Path
) -> None:
    out = Script(
        session(with_jar(installed.sources / JAR), POOL, bridge=False), tmp_path, spark41, installed.python
    ).finish()
    built_for = properties(installed.sources / JAR)["spark"].rsplit(".", 1)[0]
    status, *warnings, path = out.splitlines()
    assert status == "spark 4.1 wrong_spark"
    assert path == "python path"
    assert len(warnings) == 2, "register warns as well"
    said = (
        f"[BRIDGE_WRONG_SPARK] Cannot use the bridge in this session: it is built for Spark {built_for}, this is 4.1."
    )
    assert all(warning.startswith(said) for warning in warnings)


@pytest.mark.slow
def test_a_jar_for_an_older_spark_stays_out_of_the_way(
    installed: Installed, jar41: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    script = Script(session(with_jar(jar41), bridge=False), tmp_path, {"PYTHONPATH": None}, installed.python)
    out, log = script.process.communicate(timeout=600)
    assert script.process.returncode == 0, log
    here = properties(installed.sources / JAR)["spark"].rsplit(".", 1)[0]
    said = f"[BRIDGE_WRONG_SPARK] Cannot use the bridge in this session: it is built for Spark 4.1, this is {here}."
    assert out.splitlines()[0] == f"spark {here} wrong_spark"
    assert said in out
    assert said in log, "Spark's own log says it too"


@pytest.mark.slow
@pytest.mark.usefixtures("connect_port")
def test_spark_connect_has_the_bridge(installed: Installed, tmp_path: pathlib.Path) -> None:
    program = session('.remote("local[2]")').replace(
        "builder.getOrCreate()", "sm.configure_spark(builder).getOrCreate()"
    )
    environment = {"PYTHONPATH": None, "SPARK_CONNECT_MODE_ENABLED": None}
    assert Script(program, tmp_path, environment, installed.python).finish().splitlines()[0].endswith(" active")


PACKAGES = """
    jars = [jar.rsplit("/", 1)[1] for jar in spark._jsc.sc().listJars().mkString(",").split(",")]
    print(sorted(jars))
"""


@pytest.mark.slow
def test_a_cluster_gets_the_jar_beside_the_packages_that_the_session_asks_for(
    installed: Installed, tmp_path: pathlib.Path, standalone: str
) -> None:
    folder = tmp_path / "maven" / "org" / "example" / "thing" / "1.0"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "thing-1.0.jar", "w") as archive:
        archive.writestr("thing", "")
    names = "<groupId>org.example</groupId><artifactId>thing</artifactId><version>1.0</version>"
    (folder / "thing-1.0.pom").write_text(f"<project><modelVersion>4.0.0</modelVersion>{names}</project>")
    builder = (
        f'.master("{standalone}").config("spark.executor.memory", "1g")'
        f'.config("spark.jars.repositories", "{(tmp_path / "maven").as_uri()}")'
        f'.config("spark.jars.ivy", "{tmp_path / "ivy"}")'
    )
    packages = '.config("spark.jars.packages", "org.example:thing:1.0")'
    program = session(builder, PACKAGES).replace(".getOrCreate()", packages + ".getOrCreate()")
    out = Script(program, tmp_path, {"PYTHONPATH": None}, installed.python).finish()
    assert out.splitlines()[-1] == "['org.example_thing-1.0.jar', 'sparkmodel-bridge.jar']"


@pytest.mark.slow
@pytest.mark.parametrize("jars", [True, False], ids=["with_jars", "without"])
def test_spark_submit_with_the_jar_that_the_command_prints(
    installed: Installed, tmp_path: pathlib.Path, jars: bool
) -> None:
    """`configure_spark` sees that the JVM runs already, and whether it has the jar."""
    program = session("")
    launch = """
        import os, subprocess, sys, pyspark
        submit = os.path.join(os.path.dirname(pyspark.__file__), "bin", "spark-submit")
        jar = subprocess.run([sys.executable, "-m", "sparkmodel", "jar"], capture_output=True, text=True, check=True)
        more = ["--jars", jar.stdout.strip()] if {jars} else []
        environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
        sys.exit(subprocess.run([submit, "--master", "local[2]", *more, "program.py"], env=environment).returncode)
    """.replace("{jars}", str(jars))
    (tmp_path / "program.py").write_text("\n".join(line[4:] for line in program.splitlines()))
    out = Script(launch, tmp_path, {"PYTHONPATH": None, "PYTHONWARNINGS": "ignore"}, installed.python).finish()
    if jars:
        assert out.splitlines()[0].endswith(" active")
    else:
        assert "Spark's JVM runs already and has no sparkmodel jar, so queries run on the Python path." in out
        assert out.splitlines()[-1].endswith(" absent")
