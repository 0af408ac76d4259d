# SPDX-License-Identifier: Apache-2.0
"""The jar: built when the package is installed, shipped in wheels, put into sessions, and checked against their Spark.

Everything runs on a copy of the sources and in an environment of its own. To compile the whole bridge takes more than
all else, so it is done once for each Spark: when a wheel is made, which is then installed. What does not depend on what
is in the jar is shown on a bridge of one class.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import zipfile
from collections.abc import Mapping

import pytest

from sparkmodel.version import __version__
from tests.integration.build_scripts import NEXT, POOL, RAY, STATEMENTS, in_one_process, session, with_jar
from tests.integration.scripts import ROOT, Script

SPARK41 = pathlib.Path(sys.prefix) / "spark41" / "site"
JAR = pathlib.PurePath("sparkmodel") / "jars" / "sparkmodel-bridge.jar"
SCALA = pathlib.PurePath("jvm-bridge") / "src" / "main" / "scala"
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
def wheel(fresh: Installed) -> pathlib.Path:
    """A wheel made from an sdist of the sources; the sdist is beside it."""
    code = "import os, sys, setuptools.build_meta as b; os.chdir(sys.argv[1]); print(b.build_sdist(sys.argv[2]))"
    out = fresh.home / "dist"
    (fresh.sources / JAR).parent.mkdir()
    (fresh.sources / JAR).write_bytes(b"of other sources")  # which neither of them may have
    sdist = out / fresh.run("-c", code, str(fresh.sources), str(out)).stdout.splitlines()[-1]
    fresh.pip("wheel", "--wheel-dir", str(out), str(sdist))
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(fresh: Installed, wheel: pathlib.Path) -> Installed:
    """The environment with the wheel installed."""
    fresh.pip("install", str(wheel))
    return fresh


@pytest.fixture(scope="module")
def jar(installed: Installed) -> pathlib.Path:
    """The jar that is installed, as the command prints it."""
    return pathlib.Path(installed.run("-m", "sparkmodel", "jar").stdout.strip())


@pytest.fixture(scope="module")
def spark41() -> Mapping[str, str | None]:
    """Variables that make Spark 4.1 the one that runs."""
    if not SPARK41.is_dir():
        pytest.fail(f"Spark 4.1 is not there: run `python tools/fetch.py spark41 {SPARK41.parent}`")
    return {"PYTHONPATH": str(SPARK41), "SPARK_HOME": str(SPARK41 / "pyspark")}


@pytest.fixture(scope="module")
def jar41(fresh: Installed, spark41: Mapping[str, str | None]) -> pathlib.Path:
    """The jar, built for Spark 4.1."""
    output = fresh.home / "jar41"
    fresh.run(str(fresh.sources / "jvm-bridge" / "build.py"), "--output", str(output), env=spark41)
    return output / JAR.name


def properties(jar: pathlib.Path) -> dict[str, str]:
    with zipfile.ZipFile(jar) as archive:
        text = archive.read("sparkmodel-bridge.properties").decode()
    return dict(line.split("=", 1) for line in text.splitlines())


def keep_one_class(sources: pathlib.Path) -> pathlib.Path:
    """Make the bridge of some sources one of one class; returns that class's source."""
    shutil.rmtree(sources / SCALA)
    (sources / SCALA).mkdir()
    (sources / SCALA / "One.scala").write_text("class One")
    return sources / SCALA / "One.scala"


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
    shutil.copytree(fresh.sources / "jvm-bridge", tmp_path / "jvm-bridge")
    (tmp_path / "sparkmodel").mkdir()
    shutil.copy(fresh.sources / "sparkmodel" / "version.py", tmp_path / "sparkmodel")
    source = keep_one_class(tmp_path)
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
def test_an_editable_install_builds_the_jar_and_has_the_command(tmp_path: pathlib.Path) -> None:
    editable = Installed(tmp_path)
    keep_one_class(editable.sources)
    editable.pip("install", "--editable", str(editable.sources))
    jar = editable.sources / JAR
    assert properties(jar)["version"] == __version__
    command = pathlib.Path(editable.python).with_name("sparkmodel")
    code = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    said = editable.run("-c", code, str(command), "jar").stdout
    assert said == f"{jar}\n"
    assert editable.run("-m", "sparkmodel", "jar").stdout == said
    assert editable.run("-m", "sparkmodel", "--version").stdout == f"sparkmodel {__version__}\n"
    assert "Print the path of the jar" in editable.run("-m", "sparkmodel", "--help").stdout
    assert editable.run("-m", "sparkmodel", check=False).returncode == 2


@pytest.mark.slow
def test_a_wheel_made_from_an_sdist_has_one_jar_of_its_own_version(wheel: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert any(entry.endswith("/BridgeVersion.scala") for entry in names)
    assert not [entry for entry in names if entry.endswith(".jar")]

    assert wheel.name == f"sparkmodel-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert [entry for entry in archive.namelist() if entry.endswith(".jar")] == [str(JAR)]
        archive.extract(str(JAR), tmp_path)
    made = properties(tmp_path / JAR)
    assert made["version"] == __version__
    assert properties(ROOT / JAR) == made, "the jar of this checkout is of other sources: run jvm-bridge/build.py"
    assert (tmp_path / JAR).read_bytes() == (ROOT / JAR).read_bytes(), "equal sources make equal jars"


@pytest.mark.slow
def test_what_a_wheel_installs_finds_its_own_jar(installed: Installed, jar: pathlib.Path) -> None:
    assert jar.is_relative_to(installed.home / "env")
    assert properties(jar)["version"] == __version__


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


@pytest.fixture(scope="module")
def on_spark41(
    installed: Installed,
    jar: pathlib.Path,
    jar41: pathlib.Path,
    spark41: Mapping[str, str | None],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[list[str]]:
    """What programs print on Spark 4.1 with its own jar and with that of a newer Spark: one process, two JVMs."""
    own = with_jar(jar41) + '.config("spark.sparkmodel.allowInlineCode", "true")'
    programs = [session(own, RAY + POOL + STATEMENTS, bridge=False), session(with_jar(jar), POOL, bridge=False)]
    script = Script(in_one_process(programs), tmp_path_factory.mktemp("spark41"), spark41, installed.python)
    return [part.splitlines() for part in script.finish().split(f"{NEXT}\n")]


@pytest.mark.slow
def test_the_jar_for_spark_4_1_works_with_it(on_spark41: list[list[str]]) -> None:
    assert on_spark41[0] == ["spark 4.1 active", "bridge", "statements"]


@pytest.mark.slow
def test_a_jar_for_a_newer_spark_stays_out_of_the_way(on_spark41: list[list[str]], jar: pathlib.Path) -> None:
    built_for = properties(jar)["spark"].rsplit(".", 1)[0]
    status, *warnings, path = on_spark41[1]
    assert status == "spark 4.1 wrong_spark"
    assert path == "python path"
    assert len(warnings) == 2, "register warns as well"
    said = (
        f"[BRIDGE_WRONG_SPARK] Cannot use the bridge in this session: it is built for Spark {built_for}, this is 4.1."
    )
    assert all(warning.startswith(said) for warning in warnings)


@pytest.mark.slow
def test_a_jar_for_an_older_spark_stays_out_of_the_way(
    installed: Installed, jar: pathlib.Path, jar41: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    script = Script(session(with_jar(jar41), bridge=False), tmp_path, {"PYTHONPATH": None}, installed.python)
    out, log = script.process.communicate(timeout=600)
    assert script.process.returncode == 0, log
    here = properties(jar)["spark"].rsplit(".", 1)[0]
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
    installed: Installed, tmp_path: pathlib.Path
) -> None:
    """Spark's own cluster of one executor, whose master and worker are threads of the driver."""
    folder = tmp_path / "maven" / "org" / "example" / "thing" / "1.0"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "thing-1.0.jar", "w") as archive:
        archive.writestr("thing", "")
    names = "<groupId>org.example</groupId><artifactId>thing</artifactId><version>1.0</version>"
    (folder / "thing-1.0.pom").write_text(f"<project><modelVersion>4.0.0</modelVersion>{names}</project>")
    builder = (
        f'.master("local-cluster[1, 1, 1024]").config("spark.executor.memory", "1g")'
        f'.config("spark.jars.ivy", "{tmp_path / "ivy"}")'
    )
    packages = '.config("spark.jars.packages", "org.example:thing:1.0")'
    program = session(builder, PACKAGES).replace(".getOrCreate()", packages + ".getOrCreate()")
    # in the place of Maven Central, which Spark would ask first
    environment = {"PYTHONPATH": None, "DEFAULT_ARTIFACT_REPOSITORY": f"{(tmp_path / 'maven').as_uri()}/"}
    out = Script(program, tmp_path, environment, installed.python).finish()
    assert out.splitlines()[-1] == "['org.example_thing-1.0.jar', 'sparkmodel-bridge.jar']"


@pytest.mark.slow
@pytest.mark.parametrize("has_jar", [True, False], ids=["with_jars", "without"])
def test_spark_submit_with_the_jar_that_the_command_prints(
    installed: Installed, jar: pathlib.Path, tmp_path: pathlib.Path, has_jar: bool
) -> None:
    """`configure_spark` sees that the JVM runs already, and whether it has the jar."""
    launch = """
        import os, sys, pyspark
        submit = os.path.join(os.path.dirname(pyspark.__file__), "bin", "spark-submit")
        os.environ["PYSPARK_PYTHON"] = sys.executable
        os.execv(submit, [submit, "--master", "local[2]", {jars} "program.py"])
    """.replace("{jars}", f"'--jars', '{jar}'," if has_jar else "")
    (tmp_path / "program.py").write_text(textwrap.dedent(session("")))
    out = Script(launch, tmp_path, {"PYTHONPATH": None, "PYTHONWARNINGS": "ignore"}, installed.python).finish()
    if has_jar:
        assert out.splitlines()[0].endswith(" active")
    else:
        assert "Spark's JVM runs already and has no sparkmodel jar, so queries run on the Python path." in out
        assert out.splitlines()[-1].endswith(" absent")
